"""A source of images: an iterator of encoded files, or of blocks of raw pixels.

Knows no format. A source is read once, in an order that depends on its content alone, and holds a
few images at a time.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError

BLOCK_BYTES = 4 << 20  # raw pixels in one block
MAX_FILE_BYTES = 512 << 20  # of one image; a member of an archive may claim any size


class ImageFile(NamedTuple):
    """One encoded image.

    ``load`` reads its bytes, maybe in another thread. It raises ``OSError`` or a ``DcganError``.
    """

    name: str
    label: str | None
    num_bytes: int
    load: Callable[[], bytes]


class ImageBlock(NamedTuple):
    """Raw pixels, uint8 ``[N, H, W, C]``, and integer labels ``[N]`` if the source has them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer] | None


Items = Iterator[ImageFile | ImageBlock]


class Source(Protocol):
    """Images in a fixed order; ``DataError`` if they cannot be read."""

    @property
    def uri(self) -> str:
        """Its name in messages."""

    @property
    def kind(self) -> str:
        """Its format, in one word."""

    @property
    def num_images(self) -> int | None:
        """Number of images; None if it is known only after the last one."""

    @property
    def num_bytes(self) -> int | None:
        """Size of its files; None if it has none."""

    @property
    def signature(self) -> str | None:
        """SHA-256 that changes with its files; None if the URI alone decides the images."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the labels 0, 1, ...; None if the labels themselves are the names."""

    @property
    def ignored(self) -> Counter[str]:
        """Files that are not images, by extension; complete after the last item."""

    def items(self) -> Items:
        """Yield every image once."""


class Signature:
    """SHA-256 over the names, sizes and versions of files, in the order of ``add``.

    Packing again compares it to find a source that changed: reading all images again would cost as
    much as packing them.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, num_bytes: int, version: int | str) -> None:
        """Add a file; ``version`` is its mtime in nanoseconds, or its tag in an object store."""
        self._sha256.update(f"{name}\0{num_bytes}\0{version}\n".encode("utf-8", "surrogateescape"))

    def hex(self) -> str:
        """Return the hash of all files added so far."""
        return self._sha256.hexdigest()


def signature_of(paths: Iterable[Path]) -> str:
    """Return the signature of local files, by name without folder, so that a folder may move."""
    signature = Signature()
    for path in sorted(paths):
        status = path.stat()
        signature.add(path.name, status.st_size, status.st_mtime_ns)
    return signature.hex()


def rows_per_block(row_bytes: int) -> int:
    """Return the number of raw images in one block."""
    return max(1, min(4096, BLOCK_BYTES // max(1, row_bytes)))


def printable(name: str) -> str:
    """Return ``name`` with bytes that are not UTF-8 escaped, for messages and the index."""
    return name.encode("utf-8", "backslashreplace").decode()


def refuse(reason: str) -> NoReturn:
    """Raise ``DataError``: the ``load`` of an image that cannot be read."""
    raise DataError(reason)
