"""Buffers that TensorFlow takes over without a copy and that are used again when it has let go of them.

TensorFlow adopts a NumPy array that starts at a multiple of 64 bytes and keeps a reference to it for as long as any tensor uses its memory. So a
buffer is free when nothing refers to it but this pool. A new buffer for each chunk would cost about as much time in page faults as filling it does.
"""

import sys

import numpy as np
from numpy.typing import NDArray

ALIGNMENT_BYTES = 64  # EIGEN_MAX_ALIGN_BYTES of TensorFlow's builds


class Buffers:
    """A pool for one thread."""

    def __init__(self) -> None:
        self._pool = [np.empty(0, np.uint8)]
        # What the interpreter counts for a buffer that nobody has: the pool's reference, and what it takes to look.
        self._free_references = next(sys.getrefcount(buffer) for buffer in self._pool)

    def take(self, num_bytes: int) -> NDArray[np.uint8]:
        """uint8 ``[num_bytes]``, aligned, of any content; it is taken until the last array and tensor on it is gone."""
        wanted = num_bytes + ALIGNMENT_BYTES
        free = next(
            (
                buffer
                for buffer in self._pool
                if len(buffer) >= wanted and sys.getrefcount(buffer) <= self._free_references
            ),
            None,
        )
        if free is not None:
            return _aligned(free, num_bytes)
        self._pool = [
            buffer for buffer in self._pool if len(buffer) >= wanted
        ]  # chunks have one size, but for the last; smaller ones are past use
        self._pool.append(np.empty(wanted, np.uint8))
        return _aligned(self._pool[-1], num_bytes)


def _aligned(buffer: NDArray[np.uint8], num_bytes: int) -> NDArray[np.uint8]:
    start = -buffer.ctypes.data % ALIGNMENT_BYTES
    return buffer[start : start + num_bytes]
