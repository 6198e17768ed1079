"""Writes rows of pixels as shards: a local file at a time, hashed as it is written, uploaded while the next one is filled."""

import hashlib
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from job.config.errors import StorageError
from job.data.index import LabelFile, Shard
from job.storage.store import ObjectStore

SHARD_NAME = re.compile(r"shard-\d{5,}\.(u8|labels\.i32)")

# Small shards are what a worker needs to take no more than its share, and to begin before it has fetched much; large ones are fewer requests.
_WANTED_SHARDS = 2048
_SMALLEST_BYTES, _LARGEST_BYTES = 256 << 10, 16 << 20
_SMALLEST_ROWS = 32  # a call reads some dozen rows of a stream; each shard that it needs for them is an open file
_UPLOADS = 8  # at a time: of small files, most of the time of an upload is waiting


def shard_bytes_for(num_rows: int, row_bytes: int) -> int:
    """The size of a shard where none is asked for: the power of two that makes at most 2,048 of them, from 256 KiB or 32 rows to 16 MiB."""
    wanted = max(
        -(-num_rows * row_bytes // _WANTED_SHARDS), _SMALLEST_ROWS * row_bytes, _SMALLEST_BYTES
    )
    return min(1 << (wanted - 1).bit_length(), _LARGEST_BYTES)


class ShardWriter:
    """Uploads ``shard-00000.u8``, ... with what ``append`` is given. ``finish`` returns them for the index; ``discard`` deletes what was uploaded.

    ``folder`` is a local folder for the shards being filled and those on their way; ``has_labels`` adds ``shard-00000.labels.i32`` to each.
    """

    def __init__(
        self,
        store: ObjectStore,
        image_shape: tuple[int, int, int],
        folder: Path,
        shard_bytes: int,
        has_labels: bool = False,
    ) -> None:
        self._store = store
        self._image_shape = image_shape
        self._rows_per_shard = max(1, shard_bytes // int(np.prod(image_shape)))
        self._has_labels = has_labels
        self._folder = folder
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()
        self._labels: list[bytes] = []
        self._num_rows = 0
        self._shards: list[Shard] = []
        self._uploaded: list[str] = []
        self._pool = ThreadPoolExecutor(_UPLOADS, "upload-shard")
        self._uploading: deque[Future[None]] = deque()

    def append(self, images: NDArray[np.uint8], labels: NDArray[np.int32] | None = None) -> None:
        """Add uint8 ``[N, H, W, C]`` and, where the shards have labels, int32 ``[N]``."""
        if (
            images.dtype != np.uint8
            or images.shape[1:] != self._image_shape
            or (labels is None) is self._has_labels
        ):
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
                self._complete()

    def finish(self) -> tuple[Shard, ...]:
        """Upload the last shard and wait for all; the shards in order."""
        if self._num_rows:
            self._complete()
        while self._uploading:
            self._uploading.popleft().result()
        self._pool.shutdown()
        return tuple(self._shards)

    def discard(self) -> None:
        """Delete every shard uploaded so far, as well as the store lets us: the error that led here matters more than one of this."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for key in self._uploaded:
            try:
                self._store.delete(key)
            except StorageError:
                continue
        self._uploaded.clear()
        if self._file is not None:
            self._file.close()

    @property
    def _name(self) -> str:
        """Of the shard being filled."""
        return f"shard-{len(self._shards):05d}"

    def _write(self, images: NDArray[np.uint8]) -> None:
        data = np.ascontiguousarray(images).data
        path = self._folder / f"{self._name}.u8"
        try:
            if self._file is None:
                self._file = open(path, "wb")  # noqa: SIM115 (closed when the shard is full)
                self._sha256 = hashlib.sha256()
            self._file.write(data)
        except OSError as error:
            raise self._disk_error(path, error) from None
        self._sha256.update(data)

    def _complete(self) -> None:
        """The shard is full: note it, and upload it while the next one is filled."""
        path, labels_path = (
            self._folder / f"{self._name}{suffix}" for suffix in (".u8", ".labels.i32")
        )
        labels = None
        try:
            assert self._file is not None
            self._file.close()
            self._file = None
            num_bytes = path.stat().st_size
            if self._has_labels:
                label_bytes = b"".join(self._labels)
                labels_path.write_bytes(label_bytes)
                labels = LabelFile(labels_path.name, hashlib.sha256(label_bytes).hexdigest())
        except OSError as error:
            raise self._disk_error(path, error) from None
        while (
            len(self._uploading) >= 2 * _UPLOADS
        ):  # the temporary folder must not fill up with what waits
            self._uploading.popleft().result()
        for source in (path, labels_path) if labels else (path,):
            self._uploaded.append(
                source.name
            )  # before the upload: one that fails half-way is deleted too
            self._uploading.append(self._pool.submit(self._upload, source))
        self._shards.append(
            Shard(path.name, self._num_rows, num_bytes, self._sha256.hexdigest(), labels)
        )
        self._num_rows = 0
        self._labels.clear()

    def _upload(self, path: Path) -> None:
        self._store.upload(path, path.name)
        path.unlink(missing_ok=True)

    def _disk_error(self, path: Path, error: OSError) -> StorageError:
        return StorageError(
            f"{path}: cannot be written ({error.strerror}); expected room for some shards: choose another folder for temporary files"
        )
