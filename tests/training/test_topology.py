"""The place of a worker in its group."""

import pytest

from job.config.load import load_run
from job.training.topology import Topology, with_workers


@pytest.mark.parametrize(("rank", "is_chief"), [(0, True), (1, False)])
def test_the_chief_is_the_worker_of_rank_0(rank: int, is_chief: bool) -> None:
    """Not of local rank 0: every host has one."""
    assert Topology(rank, 4, local_rank=0).is_chief == is_chief


def test_the_actual_number_of_workers_replaces_the_configured_one() -> None:
    spec = load_run("notebook", overrides=["uri=a", "data.uri=b", "workers.count=4"])
    found = with_workers(spec, 2)
    assert (found.workers.count, found.replica_batch_size) == (2, 2 * spec.replica_batch_size)
    assert with_workers(found, 4) == spec
