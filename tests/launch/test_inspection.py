"""The workers of a run are started, compared and make an all-reduce; nothing is trained."""

from pathlib import Path

import pytest

from tests.launch.program import environment, run, train_command

pytestmark = [pytest.mark.cluster, pytest.mark.live, pytest.mark.timeout(600)]


def test_two_workers_are_inspected(garments: Path, ray_folder: Path, tmp_path: Path) -> None:
    settings = train_command(garments, tmp_path / "run", training__steps=100)[1:]
    command = ["doctor", *settings, "--workers"]
    code, output = run(command, tmp_path / "log", environment(ray_folder))
    assert code == 0, output
    assert "ok       workers: 2 on 1 host: " in output
    assert "ok       versions of the workers: the same on all workers as here" in output
    assert "ok       all-reduce: " in output
    assert " ms over 2 workers" in output
    assert "this run would start: " in output.splitlines()[-1]
    assert not (tmp_path / "run" / "checkpoints").exists()
