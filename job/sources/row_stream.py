"""Rows of raw uint8 values read one block after another from a file or a member of an archive, whatever its size.

A stream and not a memory map: the pages of a map count as this process's memory, and a container's limit would be met by a large file.
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
    """Anything that bytes can be read from."""

    def read(self, num_bytes: int, /) -> bytes:
        """At most ``num_bytes`` bytes; none at the end."""


def open_maybe_gzip(path: Path) -> io.BufferedIOBase:
    """``path`` for reading, decompressed when it is a gzip file by its first bytes."""
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip else open(path, "rb")


def as_image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int]:
    """``[N, H, W]`` or ``[N, H, W, C]`` as ``(N, H, W, C)``; ``DataError`` for anything that holds no grey or RGB images, or absurd ones."""
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3) or min(shape) < 1:
        hint = (
            ": move the channels to the end with np.moveaxis(array, 1, -1)"
            if len(shape) == 4 and shape[1] in (1, 3)
            else ""
        )
        raise DataError(
            f"{where}: values of shape {list(shape)}; expected images [N, H, W] or [N, H, W, 1 or 3]{hint}"
        )
    if (row_bytes := math.prod(shape[1:])) > MAX_ROW_BYTES:
        raise DataError(
            f"{where}: values of shape {list(shape)}, {row_bytes:,} bytes an image; expected at most {MAX_ROW_BYTES:,} bytes"
        )
    return (shape[0], shape[1], shape[2], shape[3])


def check_num_bytes(where: str, shape: tuple[int, ...], found: int) -> None:
    """``DataError`` unless ``found``, the bytes that follow a header, are those of values of ``shape``: before any memory is set aside."""
    expected = math.prod(shape)
    if found != expected:
        problem = (
            f"ends after {found:,} bytes of values"
            if found < expected
            else "goes on after its last value"
        )
        raise DataError(f"{where}: {problem}; {_expected(shape)}")


def read_blocks(
    file: Readable, where: str, shape: tuple[int, ...], num_rows: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """The rows of ``shape[1:]`` from here to the end, as blocks ``[n, *shape[1:]]`` of ``num_rows`` (default: about 4 MiB).

    ``DataError`` when the file is cut short, damaged or goes on.
    """
    row_bytes = math.prod(shape[1:])
    num_rows = num_rows or rows_per_block(row_bytes)
    expected = _expected(shape)
    for start in range(0, shape[0], num_rows):
        count = min(num_rows, shape[0] - start)
        try:
            data = file.read(count * row_bytes)
        except READ_ERRORS as error:
            raise DataError(f"{where}: is damaged or cut short ({error}); {expected}") from None
        if len(data) < count * row_bytes:
            raise DataError(
                f"{where}: ends after {start * row_bytes + len(data):,} bytes of values; {expected}"
            )
        yield np.frombuffer(data, np.uint8).reshape(count, *shape[1:])
    try:
        rest = file.read(1)  # also reads and checks the checksum of a compressed file
    except READ_ERRORS as error:
        raise DataError(f"{where}: is damaged ({error}); {expected}") from None
    if rest:
        raise DataError(f"{where}: goes on after its last value; {expected}")


def _expected(shape: tuple[int, ...]) -> str:
    return f"expected {math.prod(shape):,} bytes of values for shape {list(shape)}: copy, download or save it again"
