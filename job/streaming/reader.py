"""The reader: the pixels of the next steps as one array, copied once, with no Python per image.

Suffixes: S stripes, K steps, P positions of a stripe, H height, W width, C channels.

    reader = Reader(order, index, positions, shards)
    chunk = reader.chunk(first_step=0, num_steps=20)    # [S, K, P, H, W, C]
    batch = chunk[:, 3].reshape(-1, H, W, C)             # the positions of step 3, in order
    labels = reader.labels(first_step=0, num_steps=20)  # [S, K, P], if ``shards`` have labels
"""

import math
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from job.data.index import LABEL_BYTES, Index
from job.data.order import Order, Positions, ShardRead, shard_reads, stripe_width
from job.streaming.buffers import Buffers
from job.streaming.fetch import Stopped
from job.streaming.shards import Shards

# Larger chunks are copied by several threads; for smaller ones they cost more.
PARALLEL_BYTES = 4 << 20


class Reader:
    """Reads ``positions`` of each global batch with up to ``threads`` threads.

    One thread calls ``chunk``, any ``close``.
    """

    def __init__(
        self, order: Order, index: Index, positions: Positions, shards: Shards, threads: int = 1
    ) -> None:
        self._order, self._index, self._positions, self._shards = order, index, positions, shards
        self._width = stripe_width(order, positions)
        self._buffers = Buffers()
        self._lock, self._shards_lock = threading.Lock(), threading.Lock()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "gather")
        self._is_closed = False

    def chunk(self, first_step: int, num_steps: int) -> NDArray[np.uint8]:
        """Return the images of steps ``first_step ...`` as uint8 ``[S, K, P, H, W, C]``.

        ``chunk[:, k]`` reshaped to ``[positions.size, H, W, C]`` is step ``first_step + k``.
        Stripe by stripe, so that rows of a shard lie together. ``Stopped`` after ``close``.
        """
        shape = self._positions.size // self._width, num_steps * self._width, self._index.row_bytes
        with self._lock:
            self._check_open()
            self._shards.advance(first_step, first_step + num_steps)
            chunk = self._buffers.take(math.prod(shape)).reshape(shape)
            runs = shard_reads(self._order, first_step, num_steps, self._positions)
            if self._threads == 1 or chunk.nbytes < PARALLEL_BYTES:
                self._copy(runs, chunk)
            else:
                parts = [
                    self._pool.submit(self._copy, part, chunk)
                    for part in _dealt(runs, self._threads)
                ]
                # All of them, even if one failed: none may write into an abandoned chunk.
                wait(parts)
                for part in parts:
                    part.result()
        return chunk.reshape(shape[0], num_steps, self._width, *self._index.image_shape)

    def labels(self, first_step: int, num_steps: int) -> NDArray[np.int32]:
        """Return the labels of the chunk that was read last: int32 ``[S, K, P]``."""
        num_stripes, stripe_rows = self._positions.size // self._width, num_steps * self._width
        labels = np.empty((num_stripes, stripe_rows, LABEL_BYTES), np.uint8)
        with self._lock:
            self._check_open()
            runs = shard_reads(self._order, first_step, num_steps, self._positions)
            num_shards = len(self._index.shards)
            self._copy((run._replace(shard=num_shards + run.shard) for run in runs), labels)
        return labels.view("<i4").reshape(num_stripes, num_steps, self._width)

    def close(self) -> None:
        """Close the shards' files; interrupt a ``chunk`` that runs in another thread."""
        self._is_closed = True
        self._shards.interrupt()
        with self._lock:
            self._pool.shutdown()
            self._shards.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Stopped

    def _copy(self, runs: Iterable[ShardRead], chunk: NDArray[np.uint8]) -> None:
        for stripe, start, shard, rows in runs:
            with self._shards_lock:
                pixels = self._shards.rows(shard)
            # "clip" copies straight into `out`; "raise" would copy twice. All rows are valid.
            pixels.take(rows, axis=0, out=chunk[stripe, start : start + len(rows)], mode="clip")
            del pixels  # or this thread would occupy cache room that the next shard may need

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dealt(runs: Iterable[ShardRead], num_parts: int) -> list[list[ShardRead]]:
    """Return the runs dealt in turn, so that neighbours, often of one shard, are read together."""
    dealt = list(runs)
    return [dealt[part::num_parts] for part in range(num_parts)]
