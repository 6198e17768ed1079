"""The order of samples: which row of which shard is at each position of each global batch.

Pure arithmetic on the sizes of the shards. Knows no workers, so any number of them shares the same
global batches, and a run resumes at any step. docs/data.md draws this:

    stream   fills the same g = G / L neighbouring positions of every global batch of G
    block    up to 16,384 rows of one shard that a stream reads together, shuffled
    stripe   the positions of one stream that one worker takes; see ``stripe_width``

Each epoch, (seed, epoch) draws an order of the shards and a first row. From there on, the rows of
all shards are cut into L equal parts, one for each stream. Even streams read their part forwards
and odd ones backwards, so that two neighbours read the shard they share at the same time.
(seed, epoch, stream, block) draws the order of the rows within a block.

    epoch, t = divmod(step, num_rows // G)      the partial last batch of an epoch is left out
    row at (t, position) = rows_of[position // g][t * g + position % g]

A batch has rows of L shards, a worker downloads only the shards of its streams, and a stream has
one shard in use at a time.
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
MAX_STREAMS = 48
WHOLE_STREAMS = 24  # divisible by the usual numbers of workers, each of which gets whole streams
MAX_BLOCK_ROWS = 16384
_FIRST_ROW, _SHARDS, _ROWS = 1, 2, 3  # purposes of the hash


@dataclass(frozen=True, eq=False)  # compared by identity: the key of the caches below
class Order:
    """An order over shards of ``shard_rows`` rows; ``DataError`` if they hold less than a batch.

    ``streams`` divides the global batch size; None: ``num_streams`` chooses the number.
    """

    shard_rows: tuple[int, ...]
    global_batch_size: int
    seed: int
    streams: int | None = None

    def __post_init__(self) -> None:
        if self.global_batch_size < 1:
            raise ConfigError(f"global_batch_size is {self.global_batch_size}; expected at least 1")
        assert self.global_batch_size % (self.streams or 1) == 0, self.streams
        if self.num_rows < self.global_batch_size:
            raise DataError(
                f"{counted(self.num_rows, 'image')}, fewer than one global batch of "
                f"{self.global_batch_size}: pack more images or set training.global_batch_size "
                f"to at most {self.num_rows}"
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
    def num_streams(self) -> int:
        """``streams``, or the largest divisor of the global batch size up to 48.

        Of the latter, 2, 3, 4, 6, 8, 12 or 24 workers get whole streams if they divide the global
        batch size.
        """
        if self.streams is not None:
            return self.streams
        whole = gcd(self.global_batch_size, WHOLE_STREAMS)
        counts = range(whole, MAX_STREAMS + 1, whole)
        return max(count for count in counts if self.global_batch_size % count == 0)

    @cached_property
    def stream_width(self) -> int:
        """Positions of each global batch that one stream fills."""
        return self.global_batch_size // self.num_streams

    @cached_property
    def group_blocks(self) -> int:
        """Blocks of a stream that are sorted at once, for speed: within ``MAX_BLOCK_ROWS``."""
        return max(1, MAX_BLOCK_ROWS // max(self.shard_rows))

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """Number of each shard's first row in the data set: int64 ``[num_shards]``."""
        return np.cumsum([0, *self.shard_rows[:-1]], dtype=np.int64)


class Positions(NamedTuple):
    """Neighbouring positions of every global batch: one worker's share."""

    first: int
    size: int


class ShardRead(NamedTuple):
    """Rows of one shard to copy to ``chunk[stripe, start : start + len(rows)]``."""

    stripe: int
    start: int
    shard: int
    rows: NDArray[np.intp]  # counted within the shard


class Need(NamedTuple):
    """A stream reads ``shard`` at some of the steps ``first_step ... stop_step - 1``."""

    first_step: int
    stop_step: int
    shard: int


def worker_positions(order: Order, worker: int, num_workers: int) -> Positions:
    """Return the positions ``[worker * G / N, (worker + 1) * G / N)``.

    ``ConfigError`` unless the workers can share the global batch evenly.
    """
    if order.global_batch_size % num_workers:
        raise ConfigError(
            f"training.global_batch_size is {order.global_batch_size}; "
            f"expected a multiple of the {num_workers} workers"
        )
    count = order.global_batch_size // num_workers
    return Positions(worker * count, count)


def stripe_width(order: Order, positions: Positions) -> int:
    """Return the size of the largest equal parts of ``positions`` that each lie in one stream.

    These are the stripes. A worker with whole streams has one stripe a stream.
    """
    return gcd(order.stream_width, positions.first, positions.size)


def rows_at(
    order: Order, first_step: int, num_steps: int, positions: Positions | None = None
) -> NDArray[np.int64]:
    """Return the rows of the data set at ``positions`` (default: all) of steps ``first_step ...``.

    int64 ``[num_steps, positions.size]``; the steps may span epochs.
    """
    positions = positions or Positions(0, order.global_batch_size)
    width = stripe_width(order, positions)
    chunk = np.empty((positions.size // width, num_steps * width), np.int64)
    for stripe, start, shard, rows in shard_reads(order, first_step, num_steps, positions):
        chunk[stripe, start : start + len(rows)] = rows + order.first_rows[shard]
    by_step = chunk.reshape(positions.size // width, num_steps, width).swapaxes(0, 1)
    return by_step.reshape(num_steps, positions.size)


def shard_reads(
    order: Order, first_step: int, num_steps: int, positions: Positions
) -> Iterator[ShardRead]:
    """Yield the rows of ``rows_at`` shard by shard, to fill ``chunk[stripe, step * width + i]``."""
    width = stripe_width(order, positions)
    for stripe in range(positions.size // width):
        stream, offset = divmod(positions.first + stripe * width, order.stream_width)
        done = 0
        while done < num_steps:
            epoch, t = divmod(first_step + done, order.steps_per_epoch)
            count = min(num_steps - done, order.steps_per_epoch - t)
            start = done * width
            for shard, rows in _stream_rows(order, epoch, stream, t, count, offset, width):
                yield ShardRead(stripe, start, shard, rows)
                start += len(rows)
            done += count


def needs(order: Order, positions: Positions, first_step: int, stop_step: int) -> Iterator[Need]:
    """Yield the shards that ``positions`` read and when, in the order of their first read."""
    width, per_epoch = order.stream_width, order.steps_per_epoch
    streams = range(positions.first // width, -(-(positions.first + positions.size) // width))
    step = first_step
    while step < stop_step:
        epoch = step // per_epoch
        begin, end = epoch * per_epoch, min((epoch + 1) * per_epoch, stop_step)
        found = []
        for stream in streams:
            plan = _stream_plan(order, epoch, stream)
            for shard, first, last in zip(plan.shards, (0, *plan.ends), plan.ends, strict=False):
                start, stop = begin + first // width, begin - -last // width  # rounded down, up
                if start < end and stop > step:
                    found.append(Need(max(start, step), min(stop, end), shard))
        yield from sorted(found)
        step = end


def _stream_rows(
    order: Order, epoch: int, stream: int, t: int, num_steps: int, offset: int, width: int
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield (shard, rows) of a stream's positions ``offset ... offset + width - 1``."""
    plan, stream_width = _stream_plan(order, epoch, stream), order.stream_width
    start, stop = t * stream_width, (t + num_steps) * stream_width
    block = bisect_right(plan.ends, start)
    while start < stop:
        end = min(plan.ends[block], stop)
        group = block // order.group_blocks
        begin = plan.ends[group * order.group_blocks - 1] if group else 0
        rows = _group_rows(order, epoch, stream, group)[start - begin : end - begin]
        if width < stream_width:
            position = np.arange(start, end) % stream_width
            rows = rows[(position >= offset) & (position < offset + width)]
        if len(rows):
            yield plan.shards[block], rows
        start, block = end, block + 1


class _EpochPlan(NamedTuple):
    shards: NDArray[np.int64]  # in the epoch's order
    ends: NDArray[np.int64]  # in that order, the number of rows up to the end of each shard
    first_row: int  # at which the first stream's part begins


class _StreamPlan(NamedTuple):
    """The blocks of a stream in the order of reading. Tuples: single numbers are looked up."""

    shards: tuple[int, ...]
    first_rows: tuple[int, ...]  # of the block, within its shard
    ends: tuple[int, ...]  # number of the stream's rows up to the end of the block


@lru_cache(maxsize=4)
def _epoch_plan(order: Order, epoch: int) -> _EpochPlan:
    shards = permutation(fold(order.seed, _SHARDS, epoch), len(order.shard_rows))
    ends = np.cumsum(np.array(order.shard_rows, np.int64)[shards])
    return _EpochPlan(shards, ends, fold(order.seed, _FIRST_ROW, epoch) % order.num_rows)


@lru_cache(maxsize=4 * MAX_STREAMS)
def _stream_plan(order: Order, epoch: int, stream: int) -> _StreamPlan:
    rows_left = order.num_rows // order.num_streams
    plan = _epoch_plan(order, epoch)
    begin = (plan.first_row + stream * rows_left) % order.num_rows
    blocks: list[tuple[int, int, int]] = []  # shard, first row within it, rows
    while rows_left:
        place = int(np.searchsorted(plan.ends, begin, side="right"))
        shard, end = int(plan.shards[place]), int(plan.ends[place])
        size = min(end - begin, rows_left, MAX_BLOCK_ROWS)
        blocks.append((shard, begin - (end - order.shard_rows[shard]), size))
        begin = (begin + size) % order.num_rows
        rows_left -= size
    if stream % 2:
        blocks.reverse()
    shards, first_rows, sizes = zip(*blocks, strict=True)
    return _StreamPlan(shards, first_rows, tuple(accumulate(sizes)))


# The group in use and the next one of every stream, at most 128 KiB each.
@lru_cache(maxsize=2 * MAX_STREAMS)
def _group_rows(order: Order, epoch: int, stream: int, group: int) -> NDArray[np.intp]:
    """Return the shuffled rows, counted within their shards, of a group of blocks."""
    plan = _stream_plan(order, epoch, stream)
    blocks = slice(group * order.group_blocks, (group + 1) * order.group_blocks)
    before = plan.ends[blocks.start - 1] if group else 0
    sizes = np.diff(np.array(plan.ends[blocks]), prepend=before)
    block = np.repeat(np.arange(len(sizes)), sizes)
    in_block = np.arange(len(block)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = in_block + np.repeat(np.array(plan.first_rows[blocks]), sizes)
    drawn = hash_range(fold(order.seed, _ROWS, epoch, stream, group), 0, len(block))
    # Sorted by block, then by the upper 48 bits of the drawn number: a block has at most 2**14
    # rows, so equal numbers are rare and harmless.
    by_block = (block.astype(np.uint64) << np.uint64(48)) | (drawn >> np.uint64(16))
    shuffled: NDArray[np.intp] = rows[np.argsort(by_block, kind="stable")].astype(np.intp)
    return shuffled  # intp is what NumPy indexes with, so no read converts it
