"""The order of samples: which row of which shard stands at which place of the run.

Pure arithmetic. Knows the sizes of the shards and no workers, so the same global batches come out however many workers share them, and a run can
start at any step as if it had done all the steps before. The place is ``position = step * G + slot`` with G the global batch size.

    epoch, t = divmod(step, num_rows // G)    the last, partial batch of an epoch is left out: other rows in each epoch

Slots 0 ... G-1 are cut into L lanes of g = G / L slots. For each epoch the shards are put in an order drawn by (seed, epoch); the rows of all of them
in that order, begun at a row drawn likewise, are cut into L regions of equal length, one a lane. A lane reads its region shard by shard, and the rows
of each shard in an order drawn by (seed, epoch, lane, place):

    row at (t, slot) = sequence[lane][t * g + slot % g],  lane = slot // g

So a batch has rows from L shards, a worker that takes a run of slots downloads only the shards of its lanes, and however large the data set is, a
lane has one shard in use at a time. A shard that two neighbouring lanes share is read by both at the same time, because even lanes read their
region forwards and odd ones backwards.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import ConfigError, DataError
from job.config.text import counted
from job.data.permutation import fold, hash_range, permutation

ORDER_VERSION = 2  # another number: other rows at the same positions
MAX_LANES = 48
WHOLE_LANES = 24  # divisible by the usual numbers of workers: where lanes cannot be shared evenly, a worker reads the shards of whole ones
MAX_WINDOW_ROWS = 16384  # rows of one shard permuted together; the rest of a larger shard follows in further windows
_ROTATION, _SHARDS, _ROWS = 1, 2, 3  # streams of the hash that must not meet


@dataclass(
    frozen=True, eq=False
)  # compared by identity: it is the key of the caches below, and its tuple may be long
class Order:
    """One order over shards of ``shard_rows`` rows, in global batches; ``DataError`` when there are fewer rows than one batch."""

    shard_rows: tuple[int, ...]
    global_batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.global_batch_size < 1:
            raise ConfigError(
                f"the order of samples was given global_batch_size {self.global_batch_size}; expected at least 1"
            )
        if self.num_rows < self.global_batch_size:
            raise DataError(
                f"{counted(self.num_rows, 'image')}, fewer than one global batch of {self.global_batch_size}: "
                f"pack more images or set training.global_batch_size to at most {self.num_rows}"
            )

    @cached_property
    def num_rows(self) -> int:
        """Rows of all shards."""
        return sum(self.shard_rows)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Full global batches in one epoch."""
        return self.num_rows // self.global_batch_size

    @cached_property
    def num_lanes(self) -> int:
        """The largest divisor of the global batch size that is at most 48 and gives 2, 3, 4, 6, 8, 12 or 24 workers whole lanes, where it can."""
        whole = gcd(self.global_batch_size, WHOLE_LANES)
        return max(
            lanes
            for lanes in range(whole, MAX_LANES + 1, whole)
            if self.global_batch_size % lanes == 0
        )

    @cached_property
    def lane_slots(self) -> int:
        """Slots of each global batch that one lane fills."""
        return self.global_batch_size // self.num_lanes

    @cached_property
    def block_windows(self) -> int:
        """Windows of a lane whose rows are put in order together: as many as are sure to stay within ``MAX_WINDOW_ROWS``."""
        return max(1, MAX_WINDOW_ROWS // max(self.shard_rows))

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """Where each shard starts in the data set: int64 ``[num_shards]``."""
        return np.cumsum([0, *self.shard_rows[:-1]], dtype=np.int64)


class Slots(NamedTuple):
    """A run of slots of every global batch: what one worker takes."""

    first: int
    size: int


class Run(NamedTuple):
    """Rows of one shard that are neighbours in a chunk: ``chunk[strip, start : start + len(rows)]`` (see ``runs_at``)."""

    strip: int
    start: int
    shard: int
    rows: NDArray[np.intp]  # counted within the shard


class Need(NamedTuple):
    """A lane reads rows of ``shard`` at some of the steps ``first_step ... stop_step - 1``."""

    first_step: int
    stop_step: int
    shard: int


def worker_slots(order: Order, worker: int, num_workers: int) -> Slots:
    """Slots ``[worker * G / N, (worker + 1) * G / N)``; ``ConfigError`` when the global batch cannot be shared evenly."""
    if order.global_batch_size % num_workers:
        raise ConfigError(
            f"training.global_batch_size is {order.global_batch_size}; expected a multiple of the {num_workers} workers"
        )
    count = order.global_batch_size // num_workers
    return Slots(worker * count, count)


def strip_slots(order: Order, slots: Slots) -> int:
    """Slots of one strip: the widest equal parts of ``slots`` that each lie within one lane. A lane is one strip where whole lanes are taken."""
    return gcd(order.lane_slots, slots.first, slots.size)


def rows_at(
    order: Order, first_step: int, num_steps: int, slots: Slots | None = None
) -> NDArray[np.int64]:
    """Rows of the data set at ``slots`` (default: all) of steps ``first_step ...``, across epochs: int64 ``[num_steps, slots.size]``."""
    slots = slots or Slots(0, order.global_batch_size)
    width = strip_slots(order, slots)
    rows = np.empty((slots.size // width, num_steps * width), np.int64)
    for run in runs_at(order, first_step, num_steps, slots):
        rows[run.strip, run.start : run.start + len(run.rows)] = (
            run.rows + order.first_rows[run.shard]
        )
    return (
        rows.reshape(slots.size // width, num_steps, width)
        .swapaxes(0, 1)
        .reshape(num_steps, slots.size)
    )


def runs_at(order: Order, first_step: int, num_steps: int, slots: Slots) -> Iterator[Run]:
    """The same rows as runs within shards, strip by strip: a strip holds ``num_steps * strip_slots`` rows, step by step."""
    width = strip_slots(order, slots)
    for strip in range(slots.size // width):
        lane, offset = divmod(slots.first + strip * width, order.lane_slots)
        done = 0
        while done < num_steps:
            epoch, t = divmod(first_step + done, order.steps_per_epoch)
            count = min(num_steps - done, order.steps_per_epoch - t)
            start = done * width
            for shard, rows in _lane_slice(order, epoch, lane, t, count, offset, width):
                yield Run(strip, start, shard, rows)
                start += len(rows)
            done += count


def needs(order: Order, slots: Slots, first_step: int, stop_step: int) -> Iterator[Need]:
    """Which shards ``slots`` read from ``first_step`` on, and when, in the order in which they are first read."""
    lanes = range(
        slots.first // order.lane_slots, -(-(slots.first + slots.size) // order.lane_slots)
    )
    step = first_step
    while step < stop_step:
        epoch = step // order.steps_per_epoch
        begin, end = (
            epoch * order.steps_per_epoch,
            min((epoch + 1) * order.steps_per_epoch, stop_step),
        )
        found = []
        for lane in lanes:
            plan = _lane_plan(order, epoch, lane)
            for shard, first, last in zip(plan.shards, (0, *plan.ends), plan.ends, strict=False):
                start, stop = (
                    begin + first // order.lane_slots,
                    begin - -last // order.lane_slots,
                )  # rounded down, and up
                if start < end and stop > step:
                    found.append(Need(max(start, step), min(stop, end), shard))
        yield from sorted(found)
        step = end


def _lane_slice(
    order: Order, epoch: int, lane: int, t: int, num_steps: int, offset: int, width: int
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """(shard, rows within it) of slots ``offset ... offset + width - 1`` of a lane, at steps ``t ...`` of one epoch."""
    plan, lane_slots = _lane_plan(order, epoch, lane), order.lane_slots
    start, stop = t * lane_slots, (t + num_steps) * lane_slots
    place = bisect_right(plan.ends, start)
    while start < stop:
        end = min(plan.ends[place], stop)
        block = place // order.block_windows
        begin = plan.ends[block * order.block_windows - 1] if block else 0
        rows = _block_rows(order, epoch, lane, block)[start - begin : end - begin]
        if width < lane_slots:
            slot = np.arange(start, end) % lane_slots
            rows = rows[(slot >= offset) & (slot < offset + width)]
        if len(rows):
            yield plan.shards[place], rows
        start, place = end, place + 1


class _EpochPlan(NamedTuple):
    shards: NDArray[np.int64]  # in the epoch's order
    ends: NDArray[np.int64]  # where each of them ends in the epoch's rows
    rotation: int  # the row at which the first region begins


class _LanePlan(NamedTuple):
    """A lane's windows, each of one shard, in the order in which they are read. Tuples, because one number is looked up at a time."""

    shards: tuple[int, ...]
    first_rows: tuple[int, ...]  # of the window, within its shard
    ends: tuple[int, ...]  # where the window ends in the lane's sequence


@lru_cache(maxsize=4)
def _epoch_plan(order: Order, epoch: int) -> _EpochPlan:
    shards = permutation(fold(order.seed, _SHARDS, epoch), len(order.shard_rows))
    ends = np.cumsum(np.array(order.shard_rows, np.int64)[shards])
    return _EpochPlan(shards, ends, fold(order.seed, _ROTATION, epoch) % order.num_rows)


@lru_cache(maxsize=4 * MAX_LANES)
def _lane_plan(order: Order, epoch: int, lane: int) -> _LanePlan:
    region_rows = order.num_rows // order.num_lanes
    plan = _epoch_plan(order, epoch)
    begin = (plan.rotation + lane * region_rows) % order.num_rows
    windows: list[tuple[int, int, int]] = []  # shard, first row within it, rows
    while region_rows:
        place = int(np.searchsorted(plan.ends, begin, side="right"))
        shard, end = int(plan.shards[place]), int(plan.ends[place])
        size = min(end - begin, region_rows, MAX_WINDOW_ROWS)
        windows.append((shard, begin - (end - order.shard_rows[shard]), size))
        begin = (begin + size) % order.num_rows
        region_rows -= size
    if lane % 2:
        windows.reverse()
    shards, first_rows, sizes = zip(*windows, strict=True)
    return _LanePlan(shards, first_rows, tuple(accumulate(sizes)))


@lru_cache(
    maxsize=2 * MAX_LANES
)  # the block in use and the next one of every lane; at most 128 KiB each
def _block_rows(order: Order, epoch: int, lane: int, block: int) -> NDArray[np.intp]:
    """The rows, within their shards, of a block of windows: each window's own, in an order drawn for it. One sort a block, for speed."""
    plan = _lane_plan(order, epoch, lane)
    windows = slice(block * order.block_windows, (block + 1) * order.block_windows)
    sizes = np.diff(
        np.array(plan.ends[windows]), prepend=plan.ends[windows.start - 1] if block else 0
    )
    window = np.repeat(np.arange(len(sizes)), sizes)
    in_window = np.arange(len(window)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = in_window + np.repeat(np.array(plan.first_rows[windows]), sizes)
    drawn = hash_range(fold(order.seed, _ROWS, epoch, lane, block), 0, len(window))
    # Sorted by window, and by the drawn number within it. A window has fewer than 2**15 rows, so equal upper 48 bits are rare and harmless.
    by_window = np.argsort(
        (window.astype(np.uint64) << np.uint64(48)) | (drawn >> np.uint64(16)), kind="stable"
    )
    in_order: NDArray[np.intp] = rows[by_window].astype(
        np.intp
    )  # what NumPy indexes with, so that it need not convert
    return in_order
