"""External shuffle: any number of rows in random order, through local files, in bounded memory.

Rows are scattered over bucket files by a keyed hash of their place. Then one bucket at a time is
read, split again if it is too large, and permuted in memory. Both steps depend on the seed and the
rows' places alone. Knows no images: a record is ``[record_bytes]`` of uint8.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from job.config.errors import StorageError
from job.data.permutation import fold, hash_range, permutation

BUCKETS = 64
MAX_BUCKET_BYTES = 64 << 20  # a bucket of this size is permuted in memory
CHUNK_BYTES = 8 << 20  # of records yielded at a time
_FILE_BUFFER_BYTES = 64 << 10


class Scatter:
    """Records put in with ``add`` and taken out once with ``shuffled``.

    ``StorageError`` if the disk is full.
    """

    def __init__(
        self, folder: Path, record_bytes: int, key: int, max_bucket_bytes: int = MAX_BUCKET_BYTES
    ) -> None:
        self._folder = folder
        self._record_bytes = record_bytes
        self._key = key
        self._max_bucket_bytes = max_bucket_bytes
        self._num_records = 0
        self._files: list[BinaryIO] = []
        with _disk(folder):
            for bucket in range(BUCKETS):
                path = folder / f"bucket-{key:016x}-{bucket:02d}"
                self._files.append(path.open("wb", buffering=_FILE_BUFFER_BYTES))

    def add(self, records: NDArray[np.uint8]) -> None:
        """Add uint8 ``[N, record_bytes]``."""
        stop = self._num_records + len(records)
        buckets = hash_range(self._key, self._num_records, stop) % np.uint64(BUCKETS)
        self._num_records = stop
        by_bucket = np.argsort(buckets, kind="stable")
        every_bucket = np.arange(BUCKETS, dtype=np.uint64)
        ends = np.searchsorted(buckets[by_bucket], every_bucket, side="right")
        sorted_records = records[by_bucket]
        with _disk(self._folder):
            start = 0
            for file, end in zip(self._files, ends.tolist(), strict=True):
                if end > start:
                    file.write(sorted_records[start:end].data)
                start = end

    def shuffled(self) -> Iterator[NDArray[np.uint8]]:
        """Yield every record once, in the order of the key, in chunks of about 8 MiB.

        Each file is deleted after it has been read.
        """
        self.close()
        for bucket, file in enumerate(self._files):
            path = Path(file.name)
            with _disk(self._folder):
                num_bytes = path.stat().st_size
            if num_bytes > self._max_bucket_bytes and num_bytes > self._record_bytes:
                key = fold(self._key, bucket)
                inner = Scatter(self._folder, self._record_bytes, key, self._max_bucket_bytes)
                try:
                    for records in self._read_chunks(path):
                        inner.add(records)
                    path.unlink()
                    yield from inner.shuffled()
                finally:
                    inner.close()
                continue
            with _disk(self._folder):
                records = np.fromfile(path, np.uint8).reshape(-1, self._record_bytes)
                path.unlink()
            order = permutation(fold(self._key, bucket), len(records))
            step = self._chunk_records()
            for start in range(0, len(records), step):
                yield records[order[start : start + step]]

    def close(self) -> None:
        """Close the bucket files; the caller removes the folder."""
        with _disk(self._folder):
            for file in self._files:
                file.close()

    def _read_chunks(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        with open(path, "rb") as file:
            while data := file.read(self._chunk_records() * self._record_bytes):
                yield np.frombuffer(data, np.uint8).reshape(-1, self._record_bytes)

    def _chunk_records(self) -> int:
        return max(1, CHUNK_BYTES // self._record_bytes)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Raise ``StorageError`` for the disk's errors, with the option for another folder."""
    try:
        yield
    except OSError as error:
        found = "no space left" if error.errno == errno.ENOSPC else error.strerror
        raise StorageError(
            f"{folder}: cannot write temporary files ({found}); "
            "expected room for all images as raw pixels: choose a folder with --tmp"
        ) from None
