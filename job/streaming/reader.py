"""The reader: the pixels of the next steps as one array, gathered from mapped shards with one copy and no Python per image.

Suffixes: S strips, K steps, W slots of a strip, H height, W width, C channels.

    reader = Reader(order, index, slots, shards)
    chunk = reader.chunk(first_step=0, num_steps=20)    # [S, K, W, H, W, C]
    batch = chunk[:, 3].reshape(-1, H, W, C)             # the slots of step 3, in order
"""

import threading

import numpy as np
from numpy.typing import NDArray

from job.data.index import Index
from job.data.order import Order, Slots, runs_at, strip_slots
from job.streaming.buffers import Buffers
from job.streaming.fetch import Stopped
from job.streaming.shards import Shards


class Reader:
    """Reads ``slots`` of each global batch. ``chunk`` is for one thread, ``close`` for any."""

    def __init__(self, order: Order, index: Index, slots: Slots, shards: Shards) -> None:
        self._order, self._index, self._slots, self._shards = order, index, slots, shards
        self._width = strip_slots(order, slots)
        self._buffers = Buffers()
        self._lock = threading.Lock()
        self._is_closed = False

    def chunk(self, first_step: int, num_steps: int) -> NDArray[np.uint8]:
        """Images of steps ``first_step ...``: uint8 ``[S, K, W, H, W, C]``, strip by strip, so that each shard's rows lie together.

        ``chunk[:, k]``, reshaped to ``[slots.size, H, W, C]``, has the slots of step ``first_step + k`` in order. ``Stopped`` after ``close``.
        """
        num_strips, strip_rows, row_bytes = self._slots.size // self._width, num_steps * self._width, self._index.row_bytes
        with self._lock:
            if self._is_closed:
                raise Stopped
            self._shards.advance(first_step, first_step + num_steps)
            chunk = self._buffers.take(num_strips * strip_rows * row_bytes).reshape(num_strips, strip_rows, row_bytes)
            for strip, start, shard, rows in runs_at(self._order, first_step, num_steps, self._slots):
                # "clip" copies straight into `out`, where "raise" would copy twice; the order gives no rows that are not there
                np.take(self._shards.rows(shard), rows, axis=0, out=chunk[strip, start : start + len(rows)], mode="clip")
        return chunk.reshape(num_strips, num_steps, self._width, *self._index.image_shape)

    def close(self) -> None:
        """Let go of the shards' files; ends a ``chunk`` that is under way in another thread."""
        self._is_closed = True
        self._shards.interrupt()
        with self._lock:
            self._shards.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
