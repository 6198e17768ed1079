"""What a source of images is: an iterator of files to decode, or of blocks of raw pixels.

Knows nothing of any one format. A source is read once, in an order that depends on its content alone, and holds at most a few images at a time.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from job.sources.formats import (
    CONVERT,
    FORMAT_NAMES,
    NO_EXTENSION,
    OTHER_EXTENSION,
    SUFFIXES,
    UNREAD_SUFFIXES,
    remedy_for,
)

BLOCK_BYTES = 4 << 20  # raw pixels in one block
_MAX_SHOWN = 10  # kinds of files in a message
_EXTENSION = re.compile(
    r"\.[0-9]?[a-z][a-z0-9_]{0,9}"
)  # .png, .7z; not .000123 or .jpg?size=200, of which there may be a million
MAX_FILE_BYTES = 512 << 20  # no single image is larger; a member of an archive may claim any size
# Folders in which macOS, Windows, Linux and network drives keep thumbnails, snapshots and deleted files; those with a dot are known by it.
_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "@__thumb", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "recycler",
     "system volume information", "lost+found")
)  # fmt: skip


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


def is_hidden(name: str) -> bool:
    """Return whether any part of a path below the source is hidden (``.git``) or belongs to the system (``lost+found``)."""
    parts = PurePosixPath(name).parts
    return any(
        (part.startswith(".") and part != "..") or part.lower() in _SYSTEM_FOLDERS for part in parts
    )


def is_image_name(name: str) -> bool:
    """Return whether a file of that path below the source is taken for an image: by its extension, if it is not hidden."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not is_hidden(name)


def label_of(name: str) -> str | None:
    """Return the class of an image by its path in the source: the folder it is in, None if it is in none.

    In Unicode's composed form (NFC): macOS writes names decomposed, and a folder that came both ways is one class.
    """
    folder = PurePosixPath(name).parent.name
    return unicodedata.normalize("NFC", folder) if folder not in ("", "..") else None


def extension_of(name: str) -> str:
    """Return how an ignored file is counted: by its extension in lower case."""
    if is_hidden(name):
        return "hidden"
    extension = PurePosixPath(name).suffix.lower()
    return (
        extension
        if _EXTENSION.fullmatch(extension)
        else OTHER_EXTENSION
        if extension
        else NO_EXTENSION
    )


def describe_counts(counts: Counter[str] | dict[str, int]) -> str:
    """For a message: ``.txt x12, .csv x1``, the most frequent first."""
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in by_frequency[_MAX_SHOWN:])
    return ", ".join(
        [f"{name} x{count}" for name, count in by_frequency[:_MAX_SHOWN]]
        + ([f"others x{rest}"] if rest else [])
    )


def describe_no_image(ignored: Counter[str]) -> str:
    """Return, for a message about a source without any image, what it holds instead."""
    if not ignored:
        return f"is empty; expected {FORMAT_NAMES} images"
    total = ignored.total()
    if unread := describe_unread(ignored):
        return f"{total} file{'s'[: total != 1]}, among them {unread}"
    found = f"{total} file{'s'[: total != 1]}, none an image ({describe_counts(ignored)})"
    hidden = "; hidden and system folders are left out" if "hidden" in ignored else ""
    remedy = remedy_for(ignored)
    return f"{found}; expected {FORMAT_NAMES} images{hidden}" + (f": {remedy}" if remedy else "")


def describe_unread(ignored: Counter[str] | dict[str, int]) -> str:
    """Return how many images of formats that are not read were met, and what to do; empty if there were none."""
    unread = {suffix: count for suffix, count in ignored.items() if suffix in UNREAD_SUFFIXES}
    total = sum(unread.values())
    return (
        f"{total} image{'s'[: total != 1]} of formats that are not read ({describe_counts(unread)}): {CONVERT}"
        if unread
        else ""
    )


def rows_per_block(row_bytes: int) -> int:
    """How many raw images go into one block."""
    return max(1, min(4096, BLOCK_BYTES // max(1, row_bytes)))
