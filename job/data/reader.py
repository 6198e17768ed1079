"""Reads rows of a packed data set: any rows, in any order, as one array.

Shards on this machine's disk are memory-mapped where they lie; others are downloaded to ``cache_dir`` when one of their rows is first asked
for. Their names there are their SHA-256, so that data sets share the folder and a changed shard is never mistaken for an old one.

    with ShardReader(store, read_index(store), Path("/cache")) as reader:
        images = reader.gather(rows_at(order, step, 10))    # [10, G, H, W, C]
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError, StorageError
from job.data.index import Index, Shard
from job.data.verify import file_sha256
from job.storage.store import ObjectMissing, ObjectStore


class ShardReader:
    """Rows of the data set that ``index`` describes. Threads may share one; processes may share ``cache_dir``.

    ``verify=False`` trusts the content of shards on the local disk (their size is checked all the same); downloads are always verified.
    """

    def __init__(self, store: ObjectStore, index: Index, cache_dir: Path, verify: bool = True) -> None:
        self._store = store
        self._index = index
        self._cache_dir = cache_dir
        self._verify = verify
        self._ends = np.cumsum([shard.num_rows for shard in index.shards])  # row at which each shard ends
        self._maps: list[NDArray[np.uint8] | None] = [None] * len(index.shards)
        self._lock = threading.Lock()

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images ``[..., H, W, C]``, uint8, of rows ``[...]``; memory is that of the result alone.

        ``DataError`` for a shard that is missing or damaged, ``StorageError`` when it cannot be fetched, ``IndexError`` for a row that is not there.
        """
        flat = np.asarray(rows, np.int64).reshape(-1)
        if len(flat) and not 0 <= flat.min() <= flat.max() < self._index.num_rows:
            raise IndexError(f"rows {flat.min()} to {flat.max()} of a data set of {self._index.num_rows}")
        images = np.empty((len(flat), *self._index.image_shape), np.uint8)
        if len(self._maps) == 1:
            np.take(self._shard(0), flat, axis=0, out=images, mode="clip")  # "clip" writes straight into `out`; rows are checked above
        else:
            shards = np.searchsorted(self._ends, flat, side="right")
            for number in np.unique(shards).tolist():
                here = np.flatnonzero(shards == number)
                first_row = int(self._ends[number]) - self._index.shards[number].num_rows
                images[here] = self._shard(number)[flat[here] - first_row]
        return images.reshape(*np.shape(rows), *self._index.image_shape)

    def close(self) -> None:
        """Let go of the mapped files."""
        self._maps = [None] * len(self._maps)

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _shard(self, number: int) -> NDArray[np.uint8]:
        """The rows of one shard, mapped: ``[N, H, W, C]``."""
        mapped = self._maps[number]
        if mapped is None:
            with self._lock:  # one thread checks or downloads, the others wait and find it done
                mapped = self._maps[number]
                if mapped is None:
                    mapped = self._maps[number] = self._open(self._index.shards[number])
        return mapped

    def _open(self, shard: Shard) -> NDArray[np.uint8]:
        path = self._store.local_path(shard.name)
        if path is None:
            path = self._cached(shard)
        elif problem := _problem(path, shard, self._verify):
            raise self._error(shard, problem)
        shape = (shard.num_rows, *self._index.image_shape)
        try:
            return np.asarray(np.memmap(path, np.uint8, "r", shape=shape))  # a plain view: indexing the memmap class is slower
        except (OSError, ValueError) as error:
            raise self._error(shard, f"cannot be mapped ({error})") from None

    def _cached(self, shard: Shard) -> Path:
        """The verified local copy of a remote shard; the first process to ask downloads it, the others wait for that."""
        path = self._cache_dir / f"{shard.sha256}.u8"
        with self._cache_lock(shard):
            if path.exists() and _problem(path, shard, verify=True) is None:
                return path
            partial = path.with_suffix(".partial")
            try:
                self._store.download(shard.name, partial)
            except ObjectMissing:
                raise self._error(shard, "not found") from None
            if problem := _problem(partial, shard, verify=True):
                partial.unlink(missing_ok=True)
                raise self._error(shard, problem)
            os.replace(partial, path)
        return path

    @contextmanager
    def _cache_lock(self, shard: Shard) -> Iterator[None]:
        try:
            self._cache_dir.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._cache_dir / f"{shard.sha256}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(
                f"{self._cache_dir}: cannot be used as a cache ({error.strerror}); expected a folder on a local disk that this user may write"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # freed by the kernel when the process dies
            yield
        finally:
            os.close(descriptor)

    def _error(self, shard: Shard, problem: str) -> DataError:
        uri = self._store.uri.rstrip("/")
        return DataError(
            f"{uri}/{shard.name}: {problem}: run `dcgan-train data verify {uri}`, then copy the data set again or pack it anew"
        )


def _problem(path: Path, shard: Shard, verify: bool) -> str | None:
    """What is wrong with a local copy of ``shard``, or None."""
    try:
        num_bytes = path.stat().st_size
        if num_bytes != shard.num_bytes:
            return f"is {num_bytes:,} bytes; expected {shard.num_bytes:,} by index.json"
        if verify and (found := file_sha256(path)) != shard.sha256:
            return f"has SHA-256 {found}; expected {shard.sha256} by index.json"
    except FileNotFoundError:
        return f"not found; expected {shard.num_bytes:,} bytes by index.json"
    except OSError as error:
        return f"cannot be read ({error.strerror}); expected {shard.num_bytes:,} bytes by index.json"
    return None
