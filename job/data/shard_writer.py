"""Writes rows of pixels as shards: a local file at a time, hashed as it is written, uploaded when full."""

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from job.config.errors import StorageError
from job.data.index import DEFAULT_SHARD_BYTES, LabelFile, Shard
from job.storage.store import ObjectStore

__all__ = ["DEFAULT_SHARD_BYTES", "SHARD_NAME", "ShardWriter"]

SHARD_NAME = re.compile(r"shard-\d{5,}\.(u8|labels\.i32)")


class ShardWriter:
    """Uploads ``shard-00000.u8``, ... with what ``append`` is given. ``finish`` returns them for the index; ``discard`` deletes what was uploaded.

    ``folder`` is a local folder for the shard being filled; ``has_labels`` adds ``shard-00000.labels.i32`` to each.
    """

    def __init__(
        self,
        store: ObjectStore,
        image_shape: tuple[int, int, int],
        folder: Path,
        shard_bytes: int = DEFAULT_SHARD_BYTES,
        has_labels: bool = False,
    ) -> None:
        self._store = store
        self._image_shape = image_shape
        self._rows_per_shard = max(1, shard_bytes // int(np.prod(image_shape)))
        self._has_labels = has_labels
        self._path = folder / "shard.u8"
        self._labels_path = folder / "shard.labels.i32"
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()
        self._labels: list[bytes] = []
        self._num_rows = 0
        self._shards: list[Shard] = []
        self._uploaded: list[str] = []

    def append(self, images: NDArray[np.uint8], labels: NDArray[np.int32] | None = None) -> None:
        """Add uint8 ``[N, H, W, C]`` and, where the shards have labels, int32 ``[N]``."""
        if images.dtype != np.uint8 or images.shape[1:] != self._image_shape or (labels is None) is self._has_labels:
            raise ValueError(
                f"rows of {images.dtype} {images.shape[1:]} {'without' if labels is None else 'with'} labels do not fit these shards"
            )
        start = 0
        while start < len(images):
            stop = min(len(images), start + self._rows_per_shard - self._num_rows)
            self._write(images[start:stop])
            if labels is not None:
                self._labels.append(labels[start:stop].astype("<i4").tobytes())
            self._num_rows += stop - start
            start = stop
            if self._num_rows == self._rows_per_shard:
                self._upload()

    def finish(self) -> tuple[Shard, ...]:
        """Upload the last shard; all shards in order."""
        if self._num_rows:
            self._upload()
        return tuple(self._shards)

    def discard(self) -> None:
        """Delete every shard uploaded so far, as well as the store lets us: the error that led here matters more than one of this."""
        for key in self._uploaded:
            try:
                self._store.delete(key)
            except StorageError:
                continue
        self._uploaded.clear()
        if self._file is not None:
            self._file.close()

    def _write(self, images: NDArray[np.uint8]) -> None:
        data = np.ascontiguousarray(images).data
        try:
            if self._file is None:
                self._file = open(self._path, "wb")  # noqa: SIM115 (closed when the shard is full)
                self._sha256 = hashlib.sha256()
            self._file.write(data)
        except OSError as error:
            raise self._disk_error(error) from None
        self._sha256.update(data)

    def _upload(self) -> None:
        name = f"shard-{len(self._shards):05d}"
        labels = None
        try:
            assert self._file is not None
            self._file.close()
            self._file = None
            num_bytes = self._path.stat().st_size
            if self._has_labels:
                label_bytes = b"".join(self._labels)
                self._labels_path.write_bytes(label_bytes)
                labels = LabelFile(f"{name}.labels.i32", hashlib.sha256(label_bytes).hexdigest())
        except OSError as error:
            raise self._disk_error(error) from None
        self._uploaded.append(f"{name}.u8")  # before the upload: one that fails half-way is deleted too
        self._store.upload(self._path, f"{name}.u8")
        if labels is not None:
            self._uploaded.append(labels.name)
            self._store.upload(self._labels_path, labels.name)
        self._shards.append(Shard(f"{name}.u8", self._num_rows, num_bytes, self._sha256.hexdigest(), labels))
        self._num_rows = 0
        self._labels.clear()

    def _disk_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path}: cannot be written ({error.strerror}); expected room for one shard: choose another folder for temporary files"
        )
