"""Rows of raw uint8 values, read block by block from a file or a member of an archive.

A stream and not a memory map: the pages of a map count as this process's memory, and a large file
would exceed a container's limit.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.sources.source import rows_per_block

MAX_ROW_BYTES = 256 << 20  # one raw image: about as many pixels as Pillow takes from a file
READ_ERRORS = (OSError, EOFError, zlib.error)  # of files that may be compressed


class Readable(Protocol):
    """A binary file open for reading."""

    def read(self, num_bytes: int, /) -> bytes:
        """Return at most ``num_bytes`` bytes; none at the end."""


def open_maybe_gzip(path: Path) -> io.BufferedIOBase:
    """Open ``path``, decompressed if its first bytes are gzip's."""
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip else open(path, "rb")


def as_image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int]:
    """Return ``[N, H, W]`` or ``[N, H, W, C]`` as ``(N, H, W, C)``.

    ``DataError`` for a shape that is not of grey or RGB images, or too large.
    """
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3) or min(shape) < 1:
        is_channels_first = len(shape) == 4 and shape[1] in (1, 3)
        hint = ": move the channels to the end with np.moveaxis(array, 1, -1)"
        raise DataError(
            f"{where}: values of shape {list(shape)}; expected images [N, H, W] or "
            f"[N, H, W, 1 or 3]{hint if is_channels_first else ''}"
        )
    if (row_bytes := math.prod(shape[1:])) > MAX_ROW_BYTES:
        raise DataError(
            f"{where}: values of shape {list(shape)}, {row_bytes:,} bytes an image; "
            f"expected at most {MAX_ROW_BYTES:,} bytes"
        )
    return (shape[0], shape[1], shape[2], shape[3])


def check_num_bytes(where: str, shape: tuple[int, ...], found: int) -> None:
    """Raise ``DataError`` unless ``found`` bytes after a header are the values of ``shape``."""
    if found != (expected := math.prod(shape)):
        short = f"ends after {found:,} bytes of values"
        problem = short if found < expected else "has bytes after its last value"
        raise DataError(f"{where}: {problem}; {_expected(shape)}")


def read_blocks(
    file: Readable, where: str, shape: tuple[int, ...], num_rows: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of ``shape[1:]`` from here to the end, in blocks ``[n, *shape[1:]]``.

    A block has ``num_rows`` rows (default: about 4 MiB). ``DataError`` if the file is cut short,
    damaged or too long.
    """
    row_bytes = math.prod(shape[1:])
    num_rows = num_rows or rows_per_block(row_bytes)
    for start in range(0, shape[0], num_rows):
        count = min(num_rows, shape[0] - start)
        data = _read(file, count * row_bytes, where, "is damaged or cut short", shape)
        if len(data) < count * row_bytes:
            check_num_bytes(where, shape, start * row_bytes + len(data))
        yield np.frombuffer(data, np.uint8).reshape(count, *shape[1:])
    # Also reads and checks the checksum of a compressed file.
    num_more = len(_read(file, 1, where, "is damaged", shape))
    check_num_bytes(where, shape, math.prod(shape) + num_more)


def _read(
    file: Readable, num_bytes: int, where: str, problem: str, shape: tuple[int, ...]
) -> bytes:
    try:
        return file.read(num_bytes)
    except READ_ERRORS as error:
        raise DataError(f"{where}: {problem} ({error}); {_expected(shape)}") from None


def _expected(shape: tuple[int, ...]) -> str:
    num_bytes = f"{math.prod(shape):,} bytes of values for shape {list(shape)}"
    return f"expected {num_bytes}: copy, download or save it again"
