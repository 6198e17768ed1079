"""The estimate of a run's time: from its arithmetic, or from the speed that it had before."""

from pathlib import Path

import pytest

from job.config.load import load_run
from job.launch import machine
from job.launch.estimate import (
    memory_bytes,
    memory_warning,
    multiply_adds,
    probe,
    run_memory,
    time_text,
)
from job.run.layout import STATUS
from job.storage.uri import open_store
from job.training import preflight
from job.training.identity import settings_of
from tests.training.planned import commit_step_50, pack_512, spec_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("preset", "settings", "millions"),
    [
        ("notebook", [], 126),  # counted layer by layer for the notebook's networks
        ("notebook", ["training.updates=simultaneous"], 105),
        # 4 passes through 1,000 more rows of G's first layer of 6,272 values.
        ("notebook", ["model.conditional=true", "model.generator.embedding_size=1000"], 151),
        ("notebook", ["model.generator.upsampling=subpixel", "model.generator.kernel_size=3"], 145),
    ],
)
def test_the_arithmetic_of_an_image(preset: str, settings: list[str], millions: float) -> None:
    spec = load_run(preset, overrides=["uri=a", "data.uri=b", *settings])
    assert multiply_adds(spec) / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_time_is_estimated_from_the_arithmetic_or_from_the_speed_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    spec = spec_of(data, tmp_path / "run", "training.steps=800", "workers.count=2")
    checked = preflight.check(spec)
    assert 800 * 16 * multiply_adds(spec) / (0.6 * 1e6) / 3600 == pytest.approx(14.5, rel=0.02)
    assert time_text(checked, rate=1e6).startswith(
        "time: 4.8 h to 1.8 days, if nothing else runs here; estimated from"
    )
    commit_step_50(spec, settings_of(spec))
    open_store(spec.uri).write(STATUS, b'{"progress": {"images_per_second": 100.0}}')
    assert (
        time_text(preflight.check(spec), rate=1e6)
        == "time: about 2 min at the 100 images/s that this run measured before"
    )
    for other in (b"{}", b'{"progress": {"images_per_second": "nan"}}', b"\xff"):
        open_store(spec.uri).write(STATUS, other)
        assert "estimated" in time_text(preflight.check(spec), rate=1e6)


def test_the_probe_measures_something() -> None:
    assert 1e8 < probe(0.05) < 1e14


@pytest.mark.parametrize(
    ("preset", "batch", "megabytes"),
    [("notebook", 32, 950), ("fashion", 32, 980), ("dcgan64", 64, 3400), ("dcgan64", 128, 3670)],
)
def test_the_memory_of_a_worker_is_about_what_was_measured(
    preset: str, batch: int, megabytes: float
) -> None:
    """The peak of a worker under Ray, with a checkpoint (docs/performance.md, Memory)."""
    given = [
        "uri=a",
        "data.uri=b",
        f"training.global_batch_size={batch}",
        "training.steps_per_call=1",
    ]
    spec = load_run(preset, overrides=[*given, "workers.count=1"])
    process, gpu = memory_bytes(spec)
    assert megabytes < process / 1e6 < 1.3 * megabytes
    assert gpu == 0
    on_gpu = memory_bytes(spec.replace(workers=spec.workers.replace(gpus=1)))
    assert on_gpu[1] > process - 9e8
    two = memory_bytes(load_run(preset, overrides=[*given, "workers.count=2"]))
    assert two[0] < process


def test_a_run_needs_the_memory_of_all_workers_and_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    spec = load_run("notebook", overrides=["uri=a", "data.uri=b", "workers.count=4"])
    text, needed = run_memory(spec)
    assert needed == 4 * memory_bytes(spec)[0] + 1_200_000_000
    assert memory_warning(spec, needed) is None
    warning = memory_warning(spec, needed - 1)
    assert warning
    assert text in warning
    # An elastic group takes the room that there is: 4 cores are offered on a smaller machine, too.
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    elastic = spec.replace(workers=spec.workers.replace(count=2, max=9))
    assert run_memory(elastic)[0].startswith("4 workers")
    on_gpus = spec.replace(workers=spec.workers.replace(gpus=1))
    assert " of each GPU and 1.2 GB for Ray" in run_memory(on_gpus)[0]
