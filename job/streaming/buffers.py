"""Buffers that TensorFlow adopts without a copy and that are reused once it has released them.

TensorFlow adopts a NumPy array that starts at a multiple of 64 bytes and keeps a reference to it as
long as any tensor uses its memory. So a buffer is free if only this pool refers to it. A new buffer
for each chunk would cost about as much time in page faults as filling it does.
"""

import sys

import numpy as np
from numpy.typing import NDArray

ALIGNMENT_BYTES = 64  # EIGEN_MAX_ALIGN_BYTES of TensorFlow's builds


class Buffers:
    """A pool for one thread."""

    def __init__(self) -> None:
        self._pool = [np.empty(0, np.uint8)]
        # The count of a free buffer: the pool's reference and those of the check itself.
        self._free_references = next(sys.getrefcount(buffer) for buffer in self._pool)

    def take(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return uint8 ``[num_bytes]``, aligned; in use until its last array or tensor is gone."""
        size = num_bytes + ALIGNMENT_BYTES
        free = next(
            (
                buffer
                for buffer in self._pool
                if len(buffer) >= size and sys.getrefcount(buffer) <= self._free_references
            ),
            None,
        )
        if free is not None:
            return _aligned(free, num_bytes)
        # Chunks have one size, except the last, so smaller buffers have no further use.
        self._pool = [buffer for buffer in self._pool if len(buffer) >= size]
        self._pool.append(np.empty(size, np.uint8))
        return _aligned(self._pool[-1], num_bytes)


def _aligned(buffer: NDArray[np.uint8], num_bytes: int) -> NDArray[np.uint8]:
    start = -buffer.ctypes.data % ALIGNMENT_BYTES
    return buffer[start : start + num_bytes]
