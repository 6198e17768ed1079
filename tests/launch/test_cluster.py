"""The cluster of a run: its start on this machine, and the room for workers, node by node."""

import re
from pathlib import Path

import pytest

from job.launch.machine import num_bundles
from tests.launch.program import environment, run, train_command


def test_a_ray_that_does_not_start_is_tried_three_times(
    garments: Path, tmp_path: Path, ray_folder: Path
) -> None:
    """Ray gives up at once on its first process, which has started and has to be ended each time."""
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


@pytest.mark.parametrize(
    ("nodes", "bundle", "room"),
    [
        ([{"CPU": 4.0}], {"CPU": 1.0, "GPU": 0.0}, 4),
        (
            [{"CPU": 3.0}, {"CPU": 3.0}],
            {"CPU": 2.0, "GPU": 0.0},
            2,
        ),  # a worker never spans two nodes
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], {"CPU": 1.0, "GPU": 1.0}, 2),
        ([{"CPU": 1.0}], {"CPU": 0.1, "GPU": 0.0}, 10),
        ([], {"CPU": 1.0, "GPU": 0.0}, 0),
    ],
)
def test_workers_are_counted_node_by_node(
    nodes: list[dict[str, float]], bundle: dict[str, float], room: int
) -> None:
    assert num_bundles(nodes, bundle) == room
