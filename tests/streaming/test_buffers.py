"""Buffers: aligned for TensorFlow, reused once it released them."""

from job.streaming.buffers import ALIGNMENT_BYTES, Buffers


def test_buffers_are_aligned_and_used_again() -> None:
    buffers = Buffers()
    first = buffers.take(1000)
    address = first.ctypes.data
    assert (len(first), address % ALIGNMENT_BYTES) == (1000, 0)
    view = first.reshape(10, 100)[3:5]
    del first
    assert buffers.take(1000).ctypes.data != address
    del view
    assert buffers.take(900).ctypes.data == address
