"""What a source of images is: an iterator of files to decode, or of blocks of raw pixels.

Knows nothing of any one format. A source is read once, in an order that depends on its content alone, and holds at most a few images at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from job.sources.formats import CONVERT, FORMAT_NAMES, SUFFIXES, UNREAD_SUFFIXES

BLOCK_BYTES = 4 << 20  # raw pixels in one block
MAX_FILE_BYTES = 512 << 20  # no single image is larger; a member of an archive may claim any size


class ImageFile(NamedTuple):
    """One encoded image. ``load`` reads its bytes, maybe in another thread, and raises ``OSError`` or one of our errors."""

    name: str
    label: str | None
    num_bytes: int
    load: Callable[[], bytes]


class ImageBlock(NamedTuple):
    """Raw pixels, uint8 ``[N, H, W, C]``, with labels ``[N]`` of any integer type where the source has them."""

    images: NDArray[np.uint8]
    labels: NDArray[np.integer] | None


class Source(Protocol):
    """Images in a fixed order; ``DataError`` when they cannot be read."""

    @property
    def uri(self) -> str:
        """What messages call it."""

    @property
    def kind(self) -> str:
        """Its format, in a word."""

    @property
    def num_images(self) -> int | None:
        """How many images it holds; None where only reading to the end can tell."""

    @property
    def num_bytes(self) -> int | None:
        """Size of the files behind it; None where there are none."""

    @property
    def signature(self) -> str | None:
        """SHA-256 that changes with the files behind it; None where the URI alone decides what the images are."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the labels 0, 1, ...; None: they are named as they are met."""

    @property
    def ignored(self) -> Counter[str]:
        """Files that are no images, by extension; complete after the last item."""

    def items(self) -> Iterator[ImageFile | ImageBlock]:
        """Every image, once."""


def is_image_name(name: str) -> bool:
    """Whether a file of that path is taken for an image: by its extension; hidden files and the Mac's ``__MACOSX`` copies never are."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def label_of(name: str) -> str | None:
    """The class of an image by its path in the source: the folder it is in, None for one that is in no folder."""
    return PurePosixPath(name).parent.name or None


def extension_of(name: str) -> str:
    """How an ignored file is counted: by its extension in lower case."""
    if PurePosixPath(name).name.startswith("."):
        return "hidden"
    return PurePosixPath(name).suffix.lower() or "no extension"


def describe_counts(counts: Counter[str] | dict[str, int]) -> str:
    """For a message: ``.txt x12, .csv x1``, the most frequent first."""
    return ", ".join(f"{name} x{count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def describe_no_image(ignored: Counter[str]) -> str:
    """For a message about a source without any image: what it holds instead."""
    if not ignored:
        return f"is empty; expected {FORMAT_NAMES} images"
    total = ignored.total()
    return (
        f"{total} {'file' if total == 1 else 'files'}, none an image ({describe_counts(ignored)}); expected PNG, JPEG, WebP or BMP images"
    )


def rows_per_block(row_bytes: int) -> int:
    """How many raw images go into one block."""
    return max(1, min(4096, BLOCK_BYTES // max(1, row_bytes)))
