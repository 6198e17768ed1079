"""The Ray cluster of a run: tried three times, and nothing of a failed start is left."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.program import environment, run, train_command
from tests.servers.tools import ROOT


@pytest.mark.slow
def test_a_ray_that_does_not_start_is_tried_three_times(
    garments: Path, tmp_path: Path, ray_folder: Path
) -> None:
    """Ray gives up at once on its first process, which has started and is ended each time."""
    env = environment(ray_folder, RAY_gcs_server_port_wait_time_s="0")
    code, output = run(train_command(garments, tmp_path / "run"), tmp_path / "log", env)
    assert code == 1
    waits = [line for line in output.splitlines() if "waiting for Ray to start" in line]
    attempts = [re.search(r"attempt (\d) of 3, the last one failed \(Timed out", w) for w in waits]
    assert [found and found[1] for found in attempts] == [None, "2", "3"], output
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "Ray did not start on this machine in 3 attempts" in error
    assert re.search(r"Timed out waiting for file .+ The load is [\d.]+ on \d+ cores?\. ", error)
    assert "Traceback" not in output


@pytest.mark.slow
def test_processes_of_a_failed_start_are_killed(ray_folder: Path) -> None:
    """Ray fails after it has started a process that would stay.

    What another child starts meanwhile, as the fork server does, is not Ray's and lives.
    """
    code = """
import subprocess
import psutil
import ray
from job.config.spec import WorkerSpec
from job.launch.cluster import ClusterFailed, cluster

started = []
other = psutil.Popen(["bash", "-c", "read line; sleep 600 & wait"], stdin=subprocess.PIPE)

def init(**options):
    if not started:
        other.stdin.write(b"go\\n")
        other.stdin.flush()
        while not other.children():
            pass
    started.append(subprocess.Popen(["sleep", "600"]))
    raise RuntimeError("its head is gone")

ray.init = init
try:
    with cluster(WorkerSpec(), lambda text: None):
        pass
except ClusterFailed as error:
    print(error)
print([psutil.pid_exists(process.pid) for process in started])
print([child.status() for child in other.children()])
for process in [*started, *other.children(), other]:
    process.kill()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(ray_folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    message, are_left, of_other = done.stdout.splitlines()
    assert "in 3 attempts" in message
    assert "its head is gone" in message
    assert are_left == "[False, False, False]"
    assert of_other == "['sleeping']"
