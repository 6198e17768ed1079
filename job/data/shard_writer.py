"""Write rows of pixels as shards: hashed while written, uploaded while the next one is filled."""

import hashlib
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from job.config.errors import StorageError
from job.data.index import LabelFile, Shard
from job.storage.store import ObjectStore

SHARD_NAME = re.compile(r"shard-\d{5,}\.(u8|labels\.i32)")

# Small shards: a worker reads only its share and begins early. Large ones: fewer requests.
_WANTED_SHARDS = 2048
_SMALLEST_BYTES, _LARGEST_BYTES = 256 << 10, 16 << 20
# A call reads some dozen rows of a stream; each shard that it needs for them is an open file.
_SMALLEST_ROWS = 32
_UPLOADS = 8  # at a time: an upload of a small file mostly waits


def shard_bytes_for(num_rows: int, row_bytes: int) -> int:
    """Return the default size of a shard.

    The power of two that makes at most 2,048 of them, from 256 KiB or 32 rows to 16 MiB.
    """
    even = -(-num_rows * row_bytes // _WANTED_SHARDS)
    wanted = max(even, _SMALLEST_ROWS * row_bytes, _SMALLEST_BYTES)
    return min(1 << (wanted - 1).bit_length(), _LARGEST_BYTES)


class ShardWriter:
    """Upload what ``append`` is given as ``shard-00000.u8``, ...; a failure deletes all of them.

    ``folder`` is a local folder for shards that are filled or uploaded. ``has_labels`` adds
    ``shard-00000.labels.i32`` to each.

        with ShardWriter(store, (28, 28, 1), folder, 1 << 20) as writer:
            writer.append(images)
            shards = writer.finish()
            write_index(...)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:  # also Ctrl-C
            self._discard()

    def append(self, images: NDArray[np.uint8], labels: NDArray[np.int32] | None = None) -> None:
        """Add uint8 ``[N, H, W, C]`` and, if the shards have labels, int32 ``[N]``."""
        is_image = images.dtype == np.uint8 and images.shape[1:] == self._image_shape
        if not is_image or (labels is None) is self._has_labels:
            raise ValueError(
                f"rows of {images.dtype} {images.shape[1:]} "
                f"{'without' if labels is None else 'with'} labels do not fit these shards"
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
        """Upload the last shard, wait for all, and return them in order."""
        if self._num_rows:
            self._complete()
        while self._uploading:
            self._uploading.popleft().result()
        self._pool.shutdown()
        return tuple(self._shards)

    def _discard(self) -> None:
        """Delete the shards uploaded so far if the store allows: the first error is reported."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for key in self._uploaded:
            with suppress(StorageError):
                self._store.delete(key)
        if self._file is not None:
            self._file.close()

    @property
    def _name(self) -> str:
        """Name of the shard being filled, without suffix."""
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
        """Upload the full shard while the next one is filled."""
        path, labels_path = (self._folder / f"{self._name}{end}" for end in (".u8", ".labels.i32"))
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
        while len(self._uploading) >= 2 * _UPLOADS:  # bounds the temporary folder
            self._uploading.popleft().result()
        for source in (path, labels_path) if labels else (path,):
            self._uploaded.append(source.name)  # first: a half-finished upload is deleted too
            self._uploading.append(self._pool.submit(self._upload, source))
        sha256 = self._sha256.hexdigest()
        self._shards.append(Shard(path.name, self._num_rows, num_bytes, sha256, labels))
        self._num_rows = 0
        self._labels.clear()

    def _upload(self, path: Path) -> None:
        self._store.upload(path, path.name)
        path.unlink(missing_ok=True)

    def _disk_error(self, path: Path, error: OSError) -> StorageError:
        return StorageError(
            f"{path}: cannot be written ({error.strerror}); "
            "expected room for some shards: choose another folder for temporary files"
        )
