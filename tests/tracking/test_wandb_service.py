"""Runs in Trackio's local store, and in the files of W&B's offline mode, read back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.tools import ROOT
from tests.tracking.runs import EVERY, check_steps, kill_and_resume, pack, run_id

pytestmark = [pytest.mark.training, pytest.mark.slow, pytest.mark.live]


def read_back(packages: str, env: dict[str, str], *arguments: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.tracking.read_back", *map(str, arguments)]
    env = {**os.environ, **env, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("service", ["trackio", "wandb"])
def test_a_killed_run_continues_and_has_each_step_once(
    service: str, tmp_path: Path, tracking_packages: str
) -> None:
    run, data = tmp_path / "garments", pack(tmp_path)
    store = {"TRACKIO_DIR": str(tmp_path / "trackio")}
    offline = {"WANDB_DIR": str(tmp_path), "WANDB_MODE": "offline"}
    settings = {"tracking__service": service, "tracking__project": "tests"}
    course = kill_and_resume(data, run, store | offline, **settings)
    files = tmp_path.glob("wandb/offline-run-*/*.wandb")
    where = ["tests"] if service == "trackio" else files
    found = read_back(tracking_packages, store, service, *where)
    ids = {"trackio": {f"garments-{run_id(run)}"}, "wandb": {run_id(run)}}
    assert set(found["names"]) == ids[service]
    assert found["config"]["uri"] == found["config"]["run_folder"] == str(run)
    rows = found["rows"]
    check_steps([row["step"] for row in rows if "generator_loss" in row], course)
    grids = [row["step"] for row in rows if "samples" in row]
    expected = range(0, course.steps + 1, EVERY)
    assert grids == sorted(set(grids))
    assert set(grids) <= set(expected)
    # Both libraries write in the background, so a kill may cost grids that are listed as sent.
    assert set(grids) >= {step for step in expected if step > course.last_grid}
    newest = f"file://{run}/checkpoints/step-{course.steps:09d}"
    assert (found["last"]["newest_checkpoint"], found["last"]["status"]) == (newest, "finished")
    if service == "wandb":
        assert found["machine"] == []  # Ray's workers have a password in their command line
        names = {path.name for path in tmp_path.glob("wandb/offline-run-*/files/*")}
        assert names == {"media"}
