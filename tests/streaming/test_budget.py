"""The smallest cache that a worker can use."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.data.order import shard_reads, worker_positions
from job.streaming.budget import bytes_in_use, check_budget
from job.streaming.cache_folder import CacheFolder
from tests.streaming.sets import RemoteStore, numbers_of, open_reader, order_of, pack_numbered

BATCH = 12


def test_a_budget_smaller_than_one_call_reads_is_refused(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 6000, 50)
    order = order_of(index, BATCH)
    needed = bytes_in_use(order, index, worker_positions(order, 0, 1), 20)
    # A shard of 300 bytes for each of the 12 streams, and those it comes from and goes to.
    assert 12 * 300 <= needed <= 30 * 300
    check_budget(needed, order, index, [worker_positions(order, 0, 1)], 20)
    with pytest.raises(
        ConfigError,
        match=(
            r"data\.cache_bytes is \d.*; expected at least \d.* kB, because this worker reads"
            r" that much"
        ),
    ):
        check_budget(needed - 1, order, index, [worker_positions(order, 0, 1)], 20)
    both = [worker_positions(order, worker, 2) for worker in (0, 1)]
    half = max(bytes_in_use(order, index, positions, 20) for positions in both)
    assert half < needed
    check_budget(2 * half, order, index, both, 20)
    with pytest.raises(ConfigError, match="the 2 workers of a host read"):
        check_budget(2 * half - 1, order, index, both, 20)


def test_a_shard_that_many_streams_read_counts_once(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 6000, 1500)
    order = order_of(index, BATCH)
    assert bytes_in_use(order, index, worker_positions(order, 0, 1), 20) <= 4 * 1500 * 6


def test_bytes_in_use_match_a_walk_through_the_epoch(tmp_path: Path) -> None:
    index = pack_numbered(tmp_path / "set", 3000, 50)
    order, steps = order_of(index, BATCH), 20
    positions = worker_positions(order, 0, 1)
    runs = [
        list(shard_reads(order, step, 1, positions)) for step in range(3 * order.steps_per_epoch)
    ]
    max_bytes = 0
    for start in range(1 - steps, 3 * order.steps_per_epoch):
        shards = {
            run.shard
            for step in range(max(start, 0), min(start + steps, len(runs)))
            for run in runs[step]
        }
        max_bytes = max(max_bytes, sum(index.shards[number].num_bytes for number in shards))
    assert bytes_in_use(order, index, positions, steps) == max_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "shard_images", "num_workers"),
    [(12, 20, 1), (12, 20, 2), (64, 5, 1), (64, 21, 2), (128, 21, 1), (100, 1, 4)],
)
def test_the_smallest_accepted_budget_is_enough(
    tmp_path: Path, batch: int, shard_images: int, num_workers: int
) -> None:
    """Not a byte more: many more downloads, but no wait for room."""
    index = pack_numbered(tmp_path / "set", 3000, shard_images)
    order = order_of(index, batch)
    workers = [worker_positions(order, worker, num_workers) for worker in range(num_workers)]
    smallest = num_workers * max(bytes_in_use(order, index, positions, 20) for positions in workers)
    check_budget(smallest, order, index, workers, 20)
    options = {
        "cache_bytes": smallest,
        "batch": batch,
        "num_workers": num_workers,
        "connections": 16,
        "fetch_patience_seconds": 5,
    }
    store = RemoteStore(tmp_path / "set")
    seen = []
    with ExitStack() as stack:
        readers = [
            stack.enter_context(open_reader(store, tmp_path / "cache", worker=worker, **options))
            for worker in range(num_workers)
        ]
        for step in range(0, order.steps_per_epoch // 10 * 10, 10):
            seen += [numbers_of(reader.chunk(step, 10)).ravel() for reader in readers]
            with CacheFolder(tmp_path / "cache").locked():
                assert (
                    sum(file.num_bytes for file in CacheFolder(tmp_path / "cache").files())
                    <= smallest
                )
    shown = np.concatenate(seen)
    assert len(np.unique(shown)) == len(shown)
