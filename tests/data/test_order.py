"""The order of samples: the same for every number of workers, no image twice in an epoch.

Any step is reachable at once, and each worker reads its own shards.
"""

import time
from collections import Counter
from itertools import takewhile
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.config.errors import ConfigError, DataError
from job.data import order as order_module
from job.data.order import (
    Order,
    Positions,
    needs,
    rows_at,
    shard_reads,
    stripe_width,
    worker_positions,
)

# Timing differs too much between machines for a deadline on each example.
quick = settings(max_examples=25, deadline=None)


def build(batch: int, shard_rows: list[int], seed: int, own_streams: bool) -> Order:
    rows = (*shard_rows, max(1, batch - sum(shard_rows)))
    return Order(rows, batch, seed, streams=gcd(batch, 60) if own_streams else None)


orders = st.builds(
    build,
    st.integers(1, 100),
    st.lists(st.integers(1, 90), max_size=40),
    st.integers(0, 2**40),
    st.booleans(),
)
NUM_WORKERS = (1, 2, 3, 4, 8)


def shares(order: Order, num_workers: int) -> list[Positions]:
    return [worker_positions(order, worker, num_workers) for worker in range(num_workers)]


@pytest.mark.slow
@quick
@given(orders, st.integers(0, 40), st.integers(0, 30))
def test_every_number_of_workers_sees_the_same_global_batches(
    order: Order, first_step: int, num_steps: int
) -> None:
    whole = rows_at(order, first_step, num_steps)
    assert whole.shape == (num_steps, order.global_batch_size)
    for num_workers in NUM_WORKERS:
        if order.global_batch_size % num_workers == 0:
            parts = [
                rows_at(order, first_step, num_steps, positions)
                for positions in shares(order, num_workers)
            ]
            assert np.array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [24, 64, 96, 120])
@pytest.mark.parametrize("num_shards", [1, 2, 40, 300])
@pytest.mark.parametrize("rows", [1, 333])
def test_on_a_grid_of_sizes(batch: int, num_shards: int, rows: int) -> None:
    """Every number of workers that can share the batch, across an epoch's end, for two epochs."""
    order = Order((rows,) * (num_shards - 1) + (rows + batch,), batch, 7)
    steps = order.steps_per_epoch
    whole = rows_at(order, 0, 2 * steps)
    for epoch in (whole[:steps], whole[steps:]):
        assert len(np.unique(epoch)) == epoch.size == order.num_rows - order.num_rows % batch
    middle = max(0, steps - 3)
    for num_workers in (*NUM_WORKERS, 5, 6, 12, batch):
        if batch % num_workers == 0:
            parts = [
                rows_at(order, middle, 5, positions) for positions in shares(order, num_workers)
            ]
            assert np.array_equal(np.concatenate(parts, axis=1), rows_at(order, middle, 5))
            assert steps < 5 or np.array_equal(
                np.concatenate(parts, axis=1), whole[middle : middle + 5]
            )


@quick
@given(orders, st.integers(0, 5))
def test_an_epoch_shows_no_image_twice_and_leaves_out_only_the_rest(
    order: Order, epoch: int
) -> None:
    rows = rows_at(order, epoch * order.steps_per_epoch, order.steps_per_epoch).ravel()
    assert rows.min() >= 0
    assert rows.max() < order.num_rows
    assert (
        len(np.unique(rows))
        == len(rows)
        == order.num_rows - order.num_rows % order.global_batch_size
    )


@quick
@given(orders, st.integers(0, 50), st.integers(1, 30), st.integers(0, 99))
def test_any_step_and_position_can_be_reached_at_once(
    order: Order, step: int, num_steps: int, position: int
) -> None:
    position %= order.global_batch_size
    whole = rows_at(order, 0, step + num_steps)
    assert np.array_equal(rows_at(order, step, num_steps), whole[step:])
    assert np.array_equal(
        rows_at(order, step, num_steps, Positions(position, 1)),
        whole[step:, position : position + 1],
    )


@quick
@given(orders, st.integers(0, 50), st.integers(1, 30), st.sampled_from(NUM_WORKERS))
def test_a_run_killed_anywhere_resumes_with_any_number_of_workers(
    order: Order, killed_at: int, more: int, num_workers: int
) -> None:
    """Each image is seen as often as without the interruption."""
    if order.global_batch_size % num_workers:
        return
    after = np.concatenate(
        [rows_at(order, killed_at, more, positions) for positions in shares(order, num_workers)],
        axis=1,
    )
    seen = Counter(rows_at(order, 0, killed_at).ravel().tolist()) + Counter(after.ravel().tolist())
    assert seen == Counter(rows_at(order, 0, killed_at + more).ravel().tolist())


@quick
@given(orders, st.integers(0, 40), st.integers(1, 30), st.sampled_from(NUM_WORKERS))
def test_runs_are_the_same_rows_shard_by_shard(
    order: Order, first_step: int, num_steps: int, num_workers: int
) -> None:
    if order.global_batch_size % num_workers:
        return
    for positions in shares(order, num_workers):
        width = stripe_width(order, positions)
        chunk = np.full((positions.size // width, num_steps * width), -1)
        for run in shard_reads(order, first_step, num_steps, positions):
            assert 0 <= run.rows.min() <= run.rows.max() < order.shard_rows[run.shard]
            place = chunk[run.stripe, run.start : run.start + len(run.rows)]
            assert (place == -1).all()
            place[:] = run.rows + sum(order.shard_rows[: run.shard])
        batches = (
            chunk.reshape(-1, num_steps, width).swapaxes(0, 1).reshape(num_steps, positions.size)
        )
        assert np.array_equal(batches, rows_at(order, first_step, num_steps, positions))


@quick
@given(orders, st.integers(0, 40), st.integers(1, 60), st.sampled_from(NUM_WORKERS))
def test_needs_name_every_shard_in_time(
    order: Order, first_step: int, num_steps: int, num_workers: int
) -> None:
    if order.global_batch_size % num_workers:
        return
    for positions in shares(order, num_workers):
        found = list(needs(order, positions, first_step, first_step + num_steps))
        assert [need.first_step for need in found] == sorted(need.first_step for need in found)
        for step in range(first_step, first_step + num_steps):
            read = {run.shard for run in shard_reads(order, step, 1, positions)}
            needed = {need.shard for need in found if need.first_step <= step < need.stop_step}
            assert read <= needed
            if (
                stripe_width(order, positions) == order.stream_width
            ):  # whole streams: nothing that others read
                assert read == needed


def test_the_end_of_an_epoch_that_is_left_out_is_not_needed() -> None:
    order = Order((10, 10, 10), 16, 0)  # one step an epoch, 14 rows left out
    assert all(
        need.stop_step <= 1
        for need in takewhile(
            lambda need: need.first_step < 1, needs(order, Positions(0, 16), 0, 5)
        )
    )


@pytest.mark.parametrize("batch", [64, 96])
@pytest.mark.parametrize("num_shards", [240, 2000])
def test_a_worker_needs_its_share_of_the_bytes(batch: int, num_shards: int) -> None:
    """At most 1.1 / N of the data set an epoch, for shards enough."""
    order = Order((250,) * num_shards, batch, 3)
    for num_workers in NUM_WORKERS:
        if batch % num_workers == 0:
            for positions in shares(order, num_workers):
                for epoch in range(3):
                    steps = order.steps_per_epoch * epoch, order.steps_per_epoch * (epoch + 1)
                    needed = {need.shard for need in needs(order, positions, *steps)}
                    assert len(needed) <= 1.1 * num_shards / num_workers


def test_a_shard_is_in_use_once_an_epoch() -> None:
    """Neighbouring streams read their common shard at the same time: no cache has to keep it."""
    order = Order((250,) * 400, 64, 3)
    spans: dict[int, list[tuple[int, int]]] = {}
    for need in needs(order, Positions(0, 64), 0, order.steps_per_epoch):
        spans.setdefault(need.shard, []).append((need.first_step, need.stop_step))
    assert len(spans) == 400
    assert sum(len(span) == 2 for span in spans.values()) >= 30
    for span in spans.values():
        (_, stop), (start, _) = sorted(span)[0], sorted(span)[-1]
        assert start <= stop


@pytest.mark.slow
def test_a_reader_of_all_has_one_shard_a_stream_in_use() -> None:
    """Two at the step at which a stream goes from one to the next."""
    order = Order((250,) * 2000, 64, 3)
    in_use = [
        len({run.shard for run in shard_reads(order, step, 1, Positions(0, 64))})
        for step in range(0, order.steps_per_epoch, 7)
    ]
    assert np.median(in_use) <= order.num_streams == 32
    assert max(in_use) <= 2 * order.num_streams


def test_other_images_are_left_out_in_another_epoch() -> None:
    order = Order((100,) * 10, 96, 3)
    left_out = [
        set(range(1000)) - set(rows_at(order, epoch * 10, 10).ravel().tolist())
        for epoch in range(20)
    ]
    assert {len(rows) for rows in left_out} == {40}
    assert len(set.union(*left_out)) > 400  # of 20 x 40


def test_epochs_and_seeds_differ() -> None:
    order = Order((1000,) * 60, 640, 0)
    assert (order.num_streams, order.steps_per_epoch) == (40, 93)
    first = rows_at(order, 0, 10)
    assert np.mean(first == rows_at(order, 93, 10)) < 0.01
    assert np.mean(first == rows_at(Order((1000,) * 60, 640, 1), 0, 10)) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("shard_rows", [(1000,) * 50, (50_000,), (7,) * 7000])
def test_rows_are_shuffled(shard_rows: tuple[int, ...]) -> None:
    """Neighbouring rows are seldom neighbours in the order, and a row may be anywhere in it."""
    order = Order(shard_rows, 50, 11)
    epochs = [
        rows_at(order, epoch * order.steps_per_epoch, order.steps_per_epoch).ravel()
        for epoch in range(12)
    ]
    # Two positions of a stream are neighbours in the batch, of one shard: of its n rows, 2 / n of
    # the pairs are neighbours in it.
    assert np.mean(np.abs(np.diff(epochs[0])) == 1) < 2 / min(
        shard_rows[0], 2000
    )  # rows of a stream
    places = np.array(
        [np.flatnonzero(epoch == epochs[0][0])[0] for epoch in epochs if epochs[0][0] in epoch]
    )
    assert np.ptp(places) > order.num_rows / 3


def test_a_large_shard_is_shuffled_in_windows_of_bounded_memory() -> None:
    order = Order((4_000_000,), 1, 0)
    rows = rows_at(order, 0, 40_000).ravel()
    first = rows[: order_module.MAX_BLOCK_ROWS]
    assert np.ptp(np.unwrap(first, period=4_000_000)) == len(first) - 1
    assert len(np.unique(rows)) == len(rows)


@pytest.mark.slow
def test_rows_beyond_two_to_the_31_are_whole_numbers() -> None:
    rows = rows_at(Order((100_000_000,) * 50, 48, 0), 1000, 3)
    assert rows.dtype == np.int64
    assert rows.max() > 2**32


EXPECTED = [
    [190, 291, 439, 570, 701, 892, 20, 42],
    [93, 300, 347, 535, 588, 799, 874, 47],
]


def test_the_order_is_the_one_of_every_earlier_version() -> None:
    """A change makes every resumed run skip and repeat images: raise ``ORDER_VERSION`` then."""
    assert order_module.ORDER_VERSION == 2
    assert rows_at(Order((300, 300, 300, 100), 8, 42), 124, 2).tolist() == EXPECTED


def test_fewer_images_than_a_batch_are_an_error() -> None:
    with pytest.raises(
        DataError, match=r"63 images, fewer than one global batch of 64: .*at most 63"
    ):
        Order((60, 3), 64, 0)
    with pytest.raises(ConfigError, match="global_batch_size is 0; expected at least 1"):
        Order((63,), 0, 0)


def test_a_batch_that_workers_cannot_share_is_an_error() -> None:
    with pytest.raises(
        ConfigError,
        match=r"training\.global_batch_size is 64; expected a multiple of the 3 workers",
    ):
        worker_positions(Order((100,), 64, 0), 0, 3)


@quick
@given(st.integers(1, 200))
def test_streams_divide_the_batch(batch: int) -> None:
    order = Order((1000,), batch, 0)
    assert batch % order.num_streams == 0
    assert order.num_streams <= 48


@pytest.mark.parametrize(("streams", "copies"), [(None, 16), (512, 1.3)])
def test_more_workers_need_more_streams(streams: int | None, copies: float) -> None:
    """512 workers: with 32 streams 16 of them download each shard, with 512 one or two do."""
    order = Order((1365,) * 1600, 16_384, 0, streams)
    num_needed = sum(
        len({need.shard for need in needs(order, positions, 0, order.steps_per_epoch)})
        for positions in shares(order, 512)
    )
    assert num_needed / 1600 == pytest.approx(copies, rel=0.1)


def test_a_chunk_takes_less_than_a_millisecond_or_so() -> None:
    order = Order((334,) * 180, 64, 0)
    start = time.perf_counter()
    for step in range(0, 930, 10):
        list(shard_reads(order, step, 10, Positions(0, 64)))
    assert (time.perf_counter() - start) / 93 < 0.01  # 0.2 ms on a quiet core
