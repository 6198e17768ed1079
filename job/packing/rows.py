"""The rows of one packing: every image of a source read once into a ``Scatter``, then taken out in a random order.

Knows neither the destination nor the shards. What can only be known at the end (the classes, whether any image had colour) is settled
between the two.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.config.host import usable_cores
from job.data.index import PackSettings, SkippedImage
from job.data.permutation import fold
from job.packing.class_table import NO_LABEL, ClassTable
from job.packing.scatter import Scatter
from job.sources.decode import DecodedFile, decode_all, limited
from job.sources.image import ImagePolicy
from job.sources.source import ImageBlock, Source

MAX_LISTED = 100  # skipped images kept by name
_LABEL_BYTES = 4
_FLUSH_BYTES = 8 << 20
_SCATTER = 1  # stream of the hash


class Progress(NamedTuple):
    """How far a packing is: images ``done`` of ``total`` (None: not known yet) in its ``phase``, "read" or "write"."""

    phase: str
    done: int
    total: int | None


class Rows:
    """Rows of one source under ``settings``; temporary files lie in ``folder``, which is the caller's to remove."""

    def __init__(
        self,
        source: Source,
        settings: PackSettings,
        folder: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.classes = ClassTable(source.class_names)
        self.num_read = self.num_rows = self.num_skipped = 0
        self.skipped: list[SkippedImage] = []
        self._source = source
        self._settings = settings
        self._folder = folder
        self._on_progress = on_progress
        self._scatter: Scatter | None = None
        self._read_shape: tuple[int, ...] = ()
        self._first_name = ""
        self._only_grey = True
        self._pending: list[NDArray[np.uint8]] = []
        self._pending_bytes = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a packed image; files that all turned out to be grey are packed with one channel."""
        height, width, channels = self._read_shape
        return (
            height,
            width,
            1 if self._settings.channels is None and self._only_grey else channels,
        )

    def read(self, workers: int = 0) -> None:
        """Decode the whole source on ``workers`` threads (0: one a core). ``DataError`` for the first broken image, or where none is left."""
        total, limit = self._source.num_images, self._settings.limit
        if total is not None and limit is not None:
            total = min(total, limit)
        policy = ImagePolicy(
            _parse_size(self._settings.size), self._settings.channels, self._settings.fit
        )
        for decoded in decode_all(
            limited(self._source.items(), limit),
            policy,
            workers or usable_cores(),
            self._source.uri,
        ):
            if isinstance(decoded, ImageBlock):
                self._add_block(decoded)
            else:
                for file in decoded:
                    self._add_file(file)
            self._on_progress(Progress("read", self.num_read, total))
        self._flush()
        if not self.num_rows:
            first = (
                f"; the first: {self.skipped[0].name}: {self.skipped[0].reason}"
                if self.skipped
                else ""
            )
            raise DataError(
                f"{self._source.uri}: no image could be packed, {self.num_skipped} were skipped{first}"
            )

    def shuffled(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32] | None]]:
        """Images ``[n, H, W, C]`` and places in ``classes.classes()`` ``[n]``, None without classes, in the packed order."""
        assert self._scatter is not None
        has_labels, done = self.classes.classes() is not None, 0
        for records in self._scatter.shuffled():
            images = records[:, :-_LABEL_BYTES].reshape(-1, *self._read_shape)
            numbers = np.ascontiguousarray(records[:, -_LABEL_BYTES:]).view("<i4")[:, 0]
            yield (
                images[..., : self.image_shape[2]],
                self.classes.final_labels(numbers) if has_labels else None,
            )
            done += len(records)
            self._on_progress(Progress("write", done, self.num_rows))

    def close(self) -> None:
        """Close the temporary files."""
        if self._scatter is not None:
            self._scatter.close()

    def _add_block(self, block: ImageBlock) -> None:
        images, labels = block
        self._only_grey = self._only_grey and images.shape[3] == 1
        self.num_read += len(images)
        numbers = (
            np.full(len(images), NO_LABEL, np.int32)
            if labels is None
            else self.classes.add_values(labels)
        )
        self._put(images, numbers, self._source.uri)

    def _add_file(self, file: DecodedFile) -> None:
        self.num_read += 1
        if file.pixels is None:
            if not self._settings.skip_bad:
                raise DataError(f"{file.name}: {file.reason} (--skip-bad leaves broken images out)")
            self.num_skipped += 1
            if len(self.skipped) < MAX_LISTED:
                self.skipped.append(SkippedImage(file.name, file.reason))
            return
        self._only_grey = self._only_grey and file.is_grey
        self._put(
            file.pixels[np.newaxis],
            np.array([self.classes.add_name(file.label)], np.int32),
            file.name,
        )

    def _put(self, images: NDArray[np.uint8], numbers: NDArray[np.int32], name: str) -> None:
        if self._scatter is None:
            self._read_shape, self._first_name = images.shape[1:], name
            self._scatter = Scatter(
                self._folder, images[0].size + _LABEL_BYTES, fold(self._settings.seed, _SCATTER)
            )
        if images.shape[1:] != self._read_shape:
            here, first = (
                "x".join(map(str, shape[:2])) for shape in (images.shape[1:], self._read_shape)
            )
            raise DataError(
                f"{name}: is {here}, but {self._first_name} is {first}; expected images of one size: pass --size (for example --size 64)"
            )
        labels = numbers.astype("<i4").view(np.uint8).reshape(-1, _LABEL_BYTES)
        self._pending.append(np.concatenate([images.reshape(len(images), -1), labels], axis=1))
        self._pending_bytes += self._pending[-1].nbytes
        self.num_rows += len(images)
        if self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            assert self._scatter is not None
            self._scatter.add(np.concatenate(self._pending))
            self._pending, self._pending_bytes = [], 0


def _parse_size(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size.split("x")
    return int(height), int(width)
