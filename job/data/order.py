"""The order of samples: which row of the data set stands at which place of the run.

Pure arithmetic. Knows neither shards nor workers, so the same global batches come out however many workers share them, and a run can start at
any step as if it had done all the steps before. The place is ``position = step * G + slot`` with G the global batch size.

    epoch, t = divmod(step, num_rows // G)    the last, partial batch of an epoch is left out: other rows in each epoch

Slots 0 ... G-1 are cut into L lanes of g = G / L slots. The rows, rotated by an offset that changes with the epoch, are cut into L contiguous
regions, one a lane. A lane reads only its own region, window by window, the order of the windows and that of the rows in each window permuted by
(seed, epoch, lane):

    row at (t, slot) = region[lane][sequence[lane][t * g + slot % g]],  lane = slot // g

Lanes let a worker that takes a run of slots download only its part of the shards; windows keep the rows it needs next close together. Shards
are shuffled once when packed, so a region is a fair sample of all images.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import ConfigError, DataError
from job.data.permutation import fold, permutation

MAX_LANES = 48  # divisible by 1, 2, 3, 4, 6, 8, 12, 16, 24: whole lanes for the usual numbers of workers
_ROTATION, _WINDOWS, _ROWS = 1, 2, 3  # streams of the hash that must not meet


@dataclass(frozen=True)
class Order:
    """One order over ``num_rows`` rows, in global batches; ``DataError`` when there are fewer rows than one batch."""

    num_rows: int
    global_batch_size: int
    seed: int
    window_rows: int = 16384

    def __post_init__(self) -> None:
        if self.global_batch_size < 1 or self.window_rows < 1:
            found = f"global_batch_size {self.global_batch_size}, window_rows {self.window_rows}"
            raise ConfigError(f"the order of samples was given {found}; expected at least 1 of each")
        if self.num_rows < self.global_batch_size:
            raise DataError(
                f"{self.num_rows} images, fewer than one global batch of {self.global_batch_size}: "
                f"pack more images or set training.global_batch_size to at most {self.num_rows}"
            )

    @cached_property
    def steps_per_epoch(self) -> int:
        """Full global batches in one epoch."""
        return self.num_rows // self.global_batch_size

    @cached_property
    def num_lanes(self) -> int:
        """The largest divisor of the global batch size that is at most 48."""
        return max(lanes for lanes in range(1, MAX_LANES + 1) if self.global_batch_size % lanes == 0)


class WorkerSlots(NamedTuple):
    """The slots of each global batch that one worker takes."""

    first_slot: int
    num_slots: int


def worker_slots(order: Order, worker: int, num_workers: int) -> WorkerSlots:
    """Slots ``[worker * G / N, (worker + 1) * G / N)``; ``ConfigError`` when the global batch cannot be shared evenly."""
    if order.global_batch_size % num_workers:
        raise ConfigError(f"training.global_batch_size is {order.global_batch_size}; expected a multiple of the {num_workers} workers")
    num_slots = order.global_batch_size // num_workers
    return WorkerSlots(worker * num_slots, num_slots)


def rows_at(order: Order, first_step: int, num_steps: int, first_slot: int = 0, num_slots: int | None = None) -> NDArray[np.int64]:
    """Rows of slots ``first_slot ...`` (default: all) at steps ``first_step ...``, across epochs: int64 ``[num_steps, num_slots]``."""
    num_slots = order.global_batch_size - first_slot if num_slots is None else num_slots
    rows = np.empty((num_steps, num_slots), np.int64)
    done = 0
    while done < num_steps:
        epoch, t = divmod(first_step + done, order.steps_per_epoch)
        count = min(num_steps - done, order.steps_per_epoch - t)
        _fill_epoch(rows[done : done + count], order, epoch, t, first_slot)
        done += count
    return rows


def _fill_epoch(rows: NDArray[np.int64], order: Order, epoch: int, t: int, first_slot: int) -> None:
    """Write the rows of steps ``t ...`` of one epoch into ``rows`` ``[steps, slots]``, lane by lane."""
    num_steps, num_slots = rows.shape
    lane_slots = order.global_batch_size // order.num_lanes
    stop_slot = first_slot + num_slots
    for lane in range(first_slot // lane_slots, -(-stop_slot // lane_slots)):
        from_slot, to_slot = max(first_slot, lane * lane_slots), min(stop_slot, (lane + 1) * lane_slots)
        sequence = _lane_slice(order, epoch, lane, t * lane_slots, (t + num_steps) * lane_slots).reshape(num_steps, lane_slots)
        rows[:, from_slot - first_slot : to_slot - first_slot] = sequence[:, from_slot - lane * lane_slots : to_slot - lane * lane_slots]


def _lane_slice(order: Order, epoch: int, lane: int, start: int, stop: int) -> NDArray[np.int64]:
    """Elements ``start ... stop - 1`` of one lane's sequence of rows in one epoch."""
    plan = _lane_plan(order, epoch, lane)
    parts = []
    for place in range(int(np.searchsorted(plan.ends, start, side="right")), len(plan.ends)):
        begin = int(plan.ends[place - 1]) if place else 0
        if begin >= stop:
            break
        window = int(plan.windows[place])
        inside = _window_rows(order, epoch, lane, window, int(plan.ends[place]) - begin)
        parts.append(inside[max(start - begin, 0) : stop - begin].astype(np.int64) + (plan.first_row + window * order.window_rows))
    return np.concatenate(parts) % order.num_rows


class _LanePlan(NamedTuple):
    first_row: int  # of the rotated region; rows are counted on from here modulo num_rows
    windows: NDArray[np.int64]  # in the order in which they are read
    ends: NDArray[np.int64]  # where each of them ends in the lane's sequence


@lru_cache(maxsize=256)
def _lane_plan(order: Order, epoch: int, lane: int) -> _LanePlan:
    quotient, remainder = divmod(order.num_rows, order.num_lanes)
    region_rows = quotient + (lane < remainder)
    rotation = fold(order.seed, _ROTATION, epoch) % (quotient + 1)
    num_windows = -(-region_rows // order.window_rows)
    windows = permutation(fold(order.seed, _WINDOWS, epoch, lane), num_windows)
    sizes = np.minimum(region_rows - windows * order.window_rows, order.window_rows)
    return _LanePlan(rotation + lane * quotient + min(lane, remainder), windows, np.cumsum(sizes))


@lru_cache(maxsize=4 * MAX_LANES)  # the window in use and the next one of every lane, twice; 64 KiB each at the default size
def _window_rows(order: Order, epoch: int, lane: int, window: int, num_rows: int) -> NDArray[np.int32]:
    return permutation(fold(order.seed, _ROWS, epoch, lane, window), num_rows).astype(np.int32)
