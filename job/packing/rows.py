"""The rows of one packing: every image read once into a ``Scatter``, then taken out at random.

Knows neither the destination nor the shards. The classes, and whether any image had colour, are
known only between the two.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

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
_SCATTER = 1  # purpose of the hash


class Progress(NamedTuple):
    """Images ``done`` of ``total`` (None: not known yet) in a ``phase``, "read" or "write"."""

    phase: str
    done: int
    total: int | None


class Rows:
    """Rows of one source under ``settings``; the caller removes ``folder``, with temporary files.

    ``rows.read()`` once, then ``rows.shuffled()`` once.
    """

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
        self._pending = np.empty((0, 0), np.uint8)  # records for the scatter, some of them filled
        self._num_pending = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._scatter is not None:
            self._scatter.close()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a packed image: one channel if all files were grey."""
        height, width, channels = self._read_shape
        is_grey = self._settings.channels is None and self._only_grey
        return (height, width, 1 if is_grey else channels)

    def read(self, workers: int = 0) -> None:
        """Decode the whole source on ``workers`` threads (0: one a core).

        ``DataError`` for the first broken image, or if none is left.
        """
        source, settings = self._source, self._settings
        total = source.num_images
        if total is not None and settings.limit is not None:
            total = min(total, settings.limit)
        policy = ImagePolicy(_parse_size(settings.size), settings.channels, settings.fit)
        items = limited(source.items(), settings.limit)
        for decoded in decode_all(items, policy, workers or usable_cores(), source.uri):
            if isinstance(decoded, ImageBlock):
                self._add_block(decoded)
            else:
                for file in decoded:
                    self._add_file(file)
            self._on_progress(Progress("read", self.num_read, total))
        self._flush()
        if not self.num_rows:
            problem = f"no image could be packed, {self.num_skipped} were skipped"
            if self.skipped:
                problem += f"; the first: {self.skipped[0].name}: {self.skipped[0].reason}"
            raise DataError(f"{source.uri}: {problem}")

    def shuffled(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32] | None]]:
        """Yield images ``[n, H, W, C]`` and their places in ``classes.classes()``, in random order.

        The places ``[n]`` are None if there are no classes.
        """
        assert self._scatter is not None
        has_labels, done = self.classes.classes() is not None, 0
        for records in self._scatter.shuffled():
            images = records[:, :-_LABEL_BYTES].reshape(-1, *self._read_shape)
            numbers = np.ascontiguousarray(records[:, -_LABEL_BYTES:]).view("<i4")[:, 0]
            labels = self.classes.final_labels(numbers) if has_labels else None
            yield images[..., : self.image_shape[2]], labels
            done += len(records)
            self._on_progress(Progress("write", done, self.num_rows))

    def _add_block(self, block: ImageBlock) -> None:
        images, labels = block
        self._only_grey = self._only_grey and images.shape[3] == 1
        self.num_read += len(images)
        if labels is None:
            numbers = np.full(len(images), NO_LABEL, np.int32)
        else:
            numbers = self.classes.add_values(labels)
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
        numbers = np.array([self.classes.add_name(file.label)], np.int32)
        self._put(file.pixels[np.newaxis], numbers, file.name)

    def _put(self, images: NDArray[np.uint8], numbers: NDArray[np.int32], name: str) -> None:
        if self._scatter is None:
            self._read_shape, self._first_name = images.shape[1:], name
            key = fold(self._settings.seed, _SCATTER)
            record_bytes = images[0].size + _LABEL_BYTES
            self._scatter = Scatter(self._folder, record_bytes, key)
            self._pending = np.empty((max(1, _FLUSH_BYTES // record_bytes), record_bytes), np.uint8)
        if images.shape[1:] != self._read_shape:
            here, first = (
                "x".join(map(str, shape[:2])) for shape in (images.shape[1:], self._read_shape)
            )
            raise DataError(
                f"{name}: is {here}, but {self._first_name} is {first}; "
                "expected images of one size: pass --size (for example --size 64)"
            )
        labels = numbers.astype("<i4").view(np.uint8).reshape(-1, _LABEL_BYTES)
        pixels = images.reshape(len(images), -1)
        self.num_rows += len(images)
        start = 0
        while start < len(images):
            records = self._pending[self._num_pending :][: len(images) - start]
            stop = start + len(records)
            records[:, :-_LABEL_BYTES] = pixels[start:stop]
            records[:, -_LABEL_BYTES:] = labels[start:stop]
            self._num_pending += len(records)
            start = stop
            if self._num_pending == len(self._pending):
                self._flush()

    def _flush(self) -> None:
        if self._num_pending:
            assert self._scatter is not None
            self._scatter.add(self._pending[: self._num_pending])
            self._num_pending = 0


def _parse_size(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size.split("x")
    return int(height), int(width)
