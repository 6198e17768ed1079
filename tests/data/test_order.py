"""The order of samples: the same for every number of workers, no image twice in an epoch, any step reachable at once."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.config.errors import ConfigError, DataError
from job.data.order import Order, rows_at, worker_slots

# Timing differs too much between machines for a deadline on each example.
quick = settings(max_examples=30, deadline=None)
orders = st.integers(1, 60).flatmap(
    lambda batch: st.builds(
        Order,
        num_rows=st.integers(batch, 700),
        global_batch_size=st.just(batch),
        seed=st.integers(0, 2**40),
        window_rows=st.integers(1, 90),
    )
)


@quick
@given(orders, st.integers(0, 40), st.integers(0, 30))
def test_every_number_of_workers_sees_the_same_global_batches(order: Order, first_step: int, num_steps: int) -> None:
    whole = rows_at(order, first_step, num_steps)
    assert whole.shape == (num_steps, order.global_batch_size)
    for num_workers in (1, 2, 3, 4, 8):
        if order.global_batch_size % num_workers == 0:
            parts = [rows_at(order, first_step, num_steps, *worker_slots(order, worker, num_workers)) for worker in range(num_workers)]
            assert np.array_equal(np.concatenate(parts, axis=1), whole)


@quick
@given(orders, st.integers(0, 5))
def test_an_epoch_shows_no_image_twice_and_leaves_out_only_the_rest(order: Order, epoch: int) -> None:
    rows = rows_at(order, epoch * order.steps_per_epoch, order.steps_per_epoch).ravel()
    assert rows.min() >= 0
    assert rows.max() < order.num_rows
    assert len(np.unique(rows)) == len(rows) == order.num_rows - order.num_rows % order.global_batch_size


@quick
@given(orders, st.integers(0, 50), st.integers(1, 30), st.integers(0, 59))
def test_any_step_and_slot_can_be_reached_at_once(order: Order, step: int, num_steps: int, slot: int) -> None:
    slot %= order.global_batch_size
    whole = rows_at(order, 0, step + num_steps)
    assert np.array_equal(rows_at(order, step, num_steps), whole[step:])
    assert np.array_equal(rows_at(order, step, num_steps, slot, 1), whole[step:, slot : slot + 1])


def test_other_images_are_left_out_in_another_epoch() -> None:
    order = Order(num_rows=1000, global_batch_size=96, seed=3, window_rows=16)
    left_out = [set(range(1000)) - set(rows_at(order, epoch * 10, 10).ravel().tolist()) for epoch in range(20)]
    assert {len(rows) for rows in left_out} == {40}
    assert len(set.union(*left_out)) > 400  # of 20 x 40


def test_epochs_seeds_and_lanes_differ() -> None:
    order = Order(60_000, 640, 0)
    assert (order.num_lanes, order.steps_per_epoch) == (40, 93)
    first = rows_at(order, 0, 10)
    assert np.mean(first == rows_at(order, 93, 10)) < 0.01
    assert np.mean(first == rows_at(Order(60_000, 640, 1), 0, 10)) < 0.01
    # Lane 0 and lane 1 walk through their regions in different orders.
    assert np.mean(np.diff(first[:, :32].reshape(-1, 2, 16), axis=1) == 1500) < 0.1


def test_a_worker_reads_only_its_part_of_the_rows() -> None:
    order = Order(60_000, 64, 7)
    rows = rows_at(order, 0, order.steps_per_epoch, *worker_slots(order, 1, 4))
    assert len(np.unique(rows // 1000)) <= 60 // 4 + 2  # a run of lanes is a run of rows


def test_windows_are_read_one_after_another() -> None:
    order = Order(num_rows=100_000, global_batch_size=1, seed=0, window_rows=1000)
    rows = rows_at(order, 0, order.steps_per_epoch).ravel()
    spans = [np.ptp(np.unwrap(part, period=100_000)) for part in rows[:99_000].reshape(-1, 1000)]
    assert sum(span < 1000 for span in spans) >= 98


def test_rows_beyond_two_to_the_31_are_whole_numbers() -> None:
    rows = rows_at(Order(num_rows=5_000_000_000, global_batch_size=48, seed=0), 1000, 3)
    assert rows.dtype == np.int64
    assert rows.max() > 2**32


def test_the_order_is_the_one_of_every_earlier_version() -> None:
    assert rows_at(Order(1000, 8, 42, 64), 124, 2).tolist() == [
        [42, 230, 291, 493, 624, 721, 814, 894],
        [135, 206, 325, 479, 566, 732, 878, 964],
    ]


def test_fewer_images_than_a_batch_are_an_error() -> None:
    with pytest.raises(DataError, match=r"63 images, fewer than one global batch of 64: .*at most 63"):
        Order(63, 64, 0)
    with pytest.raises(ConfigError, match="window_rows 0; expected at least 1"):
        Order(63, 64, 0, window_rows=0)


def test_a_batch_that_workers_cannot_share_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"training\.global_batch_size is 64; expected a multiple of the 3 workers"):
        worker_slots(Order(100, 64, 0), 0, 3)


@quick
@given(st.integers(1, 200))
def test_lanes_divide_the_batch(batch: int) -> None:
    order = Order(1000, batch, 0)
    assert batch % order.num_lanes == 0
    assert order.num_lanes <= 48


def test_a_chunk_takes_about_a_millisecond() -> None:
    order = Order(60_000, 64, 0)
    rows_at(order, 0, 930)
    start = time.perf_counter()
    for step in range(0, 930, 10):
        rows_at(order, step, 10)
    assert (time.perf_counter() - start) / 93 < 0.01  # 0.3 ms on a quiet core
