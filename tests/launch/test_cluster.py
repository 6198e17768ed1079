"""Room for workers, counted node by node; and a machine that is asked for more than it has."""

from pathlib import Path

import pytest

from job.launch.cluster import num_bundles
from tests.launch.program import environment, run, train_command


@pytest.mark.parametrize(
    ("nodes", "bundle", "room"),
    [
        ([{"CPU": 4.0}], {"CPU": 1.0, "GPU": 0.0}, 4),
        ([{"CPU": 3.0}, {"CPU": 3.0}], {"CPU": 2.0, "GPU": 0.0}, 2),  # a worker never spans two nodes
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], {"CPU": 1.0, "GPU": 1.0}, 2),
        ([{"CPU": 1.0}], {"CPU": 0.1, "GPU": 0.0}, 10),
        ([], {"CPU": 1.0, "GPU": 0.0}, 0),
    ],
)
def test_workers_are_counted_node_by_node(nodes: list[dict[str, float]], bundle: dict[str, float], room: int) -> None:
    assert num_bundles(nodes, bundle) == room


@pytest.mark.cluster
def test_more_workers_than_this_machine_has(garments: Path, tmp_path: Path, ray_folder: Path) -> None:
    command = train_command(garments, tmp_path / "run", workers__count=64, training__global_batch_size=64)
    code, output = run(command, tmp_path / "log", environment(ray_folder), 60)
    assert code == 2, output
    assert "error: workers.count is 64, each with 1 CPUs and 0 GPUs; found room for" in output
    assert "Lower workers.count" in output
