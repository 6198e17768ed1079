"""The plan of a run, as ``--dry-run`` prints it: its length, and what a run folder keeps of it. No Ray, no TensorFlow."""

import dataclasses
from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.cli.run_text import length_text
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import read_index
from job.launch import machine
from job.launch.estimate import multiply_adds, probe, time_text
from job.run.layout import STATUS
from job.storage.uri import open_store
from job.training import preflight
from job.training.identity import model_identity, order_identity, settings_of
from tests.launch.program import SMALL

NUM_IMAGES = 512  # of the garments: 32 steps of 16 an epoch


def spec_of(data: Path, folder: Path, *settings: str) -> RunSpec:
    return load_run(
        overrides=[
            f"uri={folder}",
            f"data.uri={data}",
            *(f"{key}={value}" for key, value in SMALL.items()),
            *settings,
        ]
    )


def commit_step_50(spec: RunSpec, settings: dict[str, object]) -> None:
    index = read_index(open_store(spec.data.uri))
    facts = Manifest(
        50,
        800,
        "2026-01-01T00:00:00+00:00",
        model_identity(spec),
        index.fingerprint,
        order_identity(spec),
        2,
        {},
        {},
        (),
    )
    Checkpoints(open_store(spec.uri)).save(
        dataclasses.replace(facts, settings=settings), {"generator.npz": b"weights"}
    )


def test_few_images_train_longer_than_the_epochs_and_the_plan_says_so(
    garments: Path, tmp_path: Path
) -> None:
    checked = preflight.check(spec_of(garments, tmp_path / "run"))
    assert checked.schedule.total_steps == 5000
    assert length_text(checked) == (
        "length: 156.2 epochs (training.min_steps is 5,000: 10 epochs of so few images are only 320 steps; set training.epochs or"
        " training.steps for another length); a grid every 50 steps, a checkpoint every 500 steps"
    )
    checked = preflight.check(spec_of(garments, tmp_path / "run", "training.epochs=10"))
    assert checked.schedule.total_steps == 320
    assert length_text(checked) == (
        "length: 10 epochs; a grid every 32 steps, one checkpoint, at the end (checkpoints.every_steps is 500)"
    )


@pytest.mark.parametrize(
    ("kept", "settings", "total_steps"),
    [
        ({}, (), 320),  # by a version without training.min_steps
        ({"training.min_steps": 700}, (), 700),
        ({}, ("training.min_steps=900",), 900),
        ({"training.min_steps": "many"}, (), 320),
        ({"training.min_steps": 5000}, ("training.epochs=3",), 96),
    ],
)
def test_a_run_folder_keeps_the_length_it_began_with(
    kept: dict[str, object],
    settings: tuple[str, ...],
    total_steps: int,
    garments: Path,
    tmp_path: Path,
) -> None:
    spec = spec_of(garments, tmp_path / "run", *settings)
    commit_step_50(
        spec,
        {key: value for key, value in settings_of(spec).items() if key != "training.min_steps"}
        | kept,
    )
    assert preflight.check(spec).schedule.total_steps == total_steps


@pytest.mark.parametrize(
    ("preset", "settings", "millions"),
    [
        ("notebook", [], 126),  # counted layer by layer for the notebook's networks
        ("notebook", ["training.updates=simultaneous"], 105),
        ("notebook", ["model.generator.upsampling=subpixel", "model.generator.kernel_size=3"], 145),
    ],
)
def test_the_arithmetic_of_an_image(preset: str, settings: list[str], millions: float) -> None:
    spec = load_run(preset, overrides=["uri=a", "data.uri=b", *settings])
    assert multiply_adds(spec) / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_time_is_estimated_from_the_arithmetic_or_from_the_speed_before(
    garments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    spec = spec_of(garments, tmp_path / "run", "training.steps=800", "workers.count=2")
    checked = preflight.check(spec)
    assert 800 * 16 * multiply_adds(spec) / (0.6 * 1e6) / 3600 == pytest.approx(14.5, rel=0.02)
    assert time_text(checked, rate=1e6).startswith(
        "time: 7.1 h to 29 h, if nothing else runs here; estimated from"
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
    ("address", "is_local"),
    [("", True), (" ", True), ("local", True), ("auto", False), ("127.0.0.1:6379", False)],
)
def test_a_cluster_of_its_own_unless_another_is_named(
    address: str, is_local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``local`` is Ray's word for a new one, which then has to be closed to others as well."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert machine.is_local() == is_local


def test_metrics_of_a_cluster_of_its_own_are_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, chosen = (
        load_run("notebook", overrides=["uri=a", "data.uri=b", *host])
        for host in ([], ["metrics.host=0.0.0.0"])
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert machine.with_metrics_host(spec).metrics.host == "127.0.0.1"
    assert machine.with_metrics_host(chosen) == chosen
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machine.with_metrics_host(spec) == spec
