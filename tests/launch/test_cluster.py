"""Room for workers, counted node by node."""

import pytest

from job.launch.machine import num_bundles


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
