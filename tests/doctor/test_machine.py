"""The checks of this machine."""

import importlib.metadata
from pathlib import Path

import pytest

from job.doctor.check import check
from job.doctor.machine import (
    _temporary_disk,
    _versions,
    keras_check,
    machine_checks,
    shm_check,
)


def test_versions_of_the_locked_packages_fit() -> None:
    found = _versions("dcgan-train")
    assert found.state == "ok", found
    assert f"tensorflow {importlib.metadata.version('tensorflow')}" in found.found


def test_versions_that_the_requirements_exclude(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dcgan_other-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: dcgan-other\nVersion: 1\n"
        "Requires-Dist: numpy<1\nRequires-Dist: no-such-package>=2\nRequires-Dist: click>=8\n"
        'Requires-Dist: no-such-tool; extra == "dev"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = _versions("dcgan-other")
    numpy = importlib.metadata.version("numpy")
    assert found.found == (
        f"numpy is {numpy}, expected <1, no-such-package is not installed, expected >=2"
    )
    assert (found.state, found.exit_code) == ("error", 2)
    assert _versions("no-such-package").state == "warning"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Keras 3.15.1 on tensorflow", "ok"),
        ("Keras 2.21.0 on tensorflow", "error"),
        ("Keras 3.15.1 on jax", "error"),
    ],
)
def test_only_keras_3_on_tensorflow(text: str, state: str) -> None:
    assert keras_check("Keras", text).state == state


@pytest.mark.parametrize(
    ("num_bytes", "state"), [(64 * 2**20, "warning"), (2**30, "ok"), (None, "ok")]
)
def test_shared_memory_of_a_container_by_default_is_too_small(
    num_bytes: int | None, state: str
) -> None:
    assert shm_check("/dev/shm", num_bytes).state == state


def test_a_temporary_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert check("disk", lambda: _temporary_disk(tmp_path)).state in ("ok", "warning")
    assert not list(tmp_path.glob("tmp*"))
    for folder in (tmp_path / "none", tmp_path / "file"):
        found = check("disk", lambda folder=folder: _temporary_disk(folder))  # type: ignore[misc]
        assert (found.state, found.exit_code) == ("error", 3)
        assert "RAY_TMPDIR" in found.advice


def test_a_driver_needs_no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = list(machine_checks(1, workers=False))
    assert [each.name for each in found] == [
        "versions",
        "Keras and GPUs",
        "processors",
        "temporary disk",
    ]
    assert "Keras and GPUs" not in [each.name for each in machine_checks(1, workers=True)]


@pytest.mark.training
@pytest.mark.parametrize(("num_gpus", "state"), [(None, "ok"), (0, "ok"), (1, "error")])
def test_gpus_that_are_missing(
    num_gpus: int | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = {each.name: each for each in machine_checks(num_gpus, workers=False)}
    assert found["Keras"].state == "ok"
    assert found["GPUs"].state == state
