"""The rows of shards for a reader: in place on the local disk, or from the cache of a remote store.

A label file is read like a shard, with rows of 4 bytes: of N shards, number N + n is the label
file of shard n. Both map the file, so a row is read when it is copied out. Shards that are no
longer read stay mapped within bounds: the resident memory of a reader is that of the shards in use,
and some more.
"""

import mmap
import os
import resource
from collections import OrderedDict
from collections.abc import Iterator, Sequence, Set
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from job.config.spec import DataSpec
from job.data.index import Index, Shard, label_shards
from job.data.order import Need
from job.data.verify import damaged, descriptor_sha256
from job.storage import os_errors
from job.storage.paths import local_path
from job.storage.store import ObjectStore
from job.streaming.ahead import FetchAhead
from job.streaming.cache import ShardCache
from job.streaming.events import NullListener, StreamListener
from job.streaming.fetch import Fetcher
from job.streaming.loader import ShardLoader

MAX_MAPPED = 4096  # open files, and at most a quarter of what the process may open
MAX_IDLE_BYTES = 1 << 30  # of mapped shards that are not needed now


class Shards(Protocol):
    """The shards of a data set, for one thread that reads step after step."""

    def advance(self, first_step: int, stop_step: int) -> None:
        """Prepare for steps ``first_step ... stop_step - 1``, which are read next."""

    def rows(self, number: int) -> NDArray[np.uint8]:
        """Return all rows of a shard, mapped: uint8 ``[N, H * W * C]``, of labels ``[N, 4]``.

        Raise ``DataError`` if it is damaged, ``StorageError`` if it cannot be read.
        """

    def interrupt(self) -> None:
        """Make ``rows`` raise ``Stopped`` in another thread; only ``close`` may follow."""

    def close(self) -> None:
        """Close all files."""


def open_shards(
    store: ObjectStore,
    index: Index,
    spec: DataSpec,
    needed: Iterator[Need],
    *,
    connections: int = 16,
    sharers: int = 1,
    listener: StreamListener | None = None,
    with_labels: bool = False,
) -> Shards:
    """Return the shards of the data set at ``store``, for a reader that needs ``needed``.

    ``connections`` requests run at once; ``sharers`` processes of this host use the cache.
    ``with_labels`` adds the label files, which every shard must have.
    """
    files = index.shards
    if with_labels:
        files, needed = (*files, *label_shards(index)), _with_labels(needed, len(files))
    if store.local_path(files[0].name) is not None:
        return LocalShards(store, files, spec.verify)
    return CachedShards(
        store, files, spec, needed, connections, sharers, listener or NullListener()
    )


def _with_labels(needed: Iterator[Need], num_shards: int) -> Iterator[Need]:
    """Yield each need of a shard, and one of its label file at the same steps."""
    for need in needed:
        yield need
        yield need._replace(shard=num_shards + need.shard)


class LocalShards:
    """Shards in a local folder, read in place."""

    def __init__(self, store: ObjectStore, files: Sequence[Shard], verify: bool) -> None:
        self._store, self._files, self._verify = store, files, verify
        self._maps = _Maps(files)
        self._read_shards: set[int] = set()  # since the last ``advance``
        self._verified: set[int] = set()

    def advance(self, first_step: int, stop_step: int) -> None:
        self._maps.trim(self._read_shards, MAX_IDLE_BYTES)
        self._read_shards = set()

    def rows(self, number: int) -> NDArray[np.uint8]:
        self._read_shards.add(number)
        if (rows := self._maps.get(number)) is not None:
            return rows
        shard = self._files[number]
        path = self._store.local_path(shard.name)
        assert path is not None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if problem := self._problem(
                    descriptor, shard, verify=self._verify and number not in self._verified
                ):
                    raise damaged(self._store, path.name, problem)
                self._verified.add(number)
                return self._maps.add(number, descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise damaged(
                self._store,
                path.name,
                f"not found; expected {shard.num_bytes:,} bytes by index.json",
            ) from None
        except OSError as error:
            raise os_errors.storage_error(
                f"{self._store.uri.rstrip('/')}/{path.name}", "read", error
            ) from error

    def interrupt(self) -> None:
        """Do nothing: no read waits long."""

    def close(self) -> None:
        self._maps.clear()

    def _problem(self, descriptor: int, shard: Shard, verify: bool) -> str | None:
        if (found := os.fstat(descriptor).st_size) != shard.num_bytes:
            return f"is {found:,} bytes; expected {shard.num_bytes:,} by index.json"
        if verify and (sha256 := descriptor_sha256(descriptor)) != shard.sha256:
            return f"has SHA-256 {sha256}; expected {shard.sha256} by index.json"
        return None


class CachedShards:
    """Shards of a remote store, loaded ahead of the reader into ``spec.cache_dir``."""

    def __init__(
        self,
        store: ObjectStore,
        files: Sequence[Shard],
        spec: DataSpec,
        needed: Iterator[Need],
        connections: int,
        sharers: int,
        listener: StreamListener,
    ) -> None:
        self._maps = _Maps(files)
        self._fetcher = Fetcher(store, connections, listener)
        cache = ShardCache(local_path(spec.cache_dir), spec.cache_bytes)
        self._ahead = FetchAhead(
            files,
            needed,
            cache,
            ShardLoader(store, cache, self._fetcher, spec.verify, listener),
            ahead_steps=spec.fetch_ahead_batches,
            share_bytes=spec.cache_bytes // sharers,
            patience_seconds=spec.fetch_patience_seconds,
            threads=connections,
            check_stopped=self._fetcher.check_stopped,
            listener=listener,
        )

    def advance(self, first_step: int, stop_step: int) -> None:
        # Unmap, and so unlock, first: the next shards may need the room.
        self._maps.trim(
            self._ahead.needed_at(first_step, stop_step),
            min(MAX_IDLE_BYTES, self._ahead.spare_bytes // 2),
        )
        self._ahead.advance(first_step, stop_step)

    def rows(self, number: int) -> NDArray[np.uint8]:
        if (rows := self._maps.get(number)) is not None:
            return rows
        cached = self._ahead.get(number, make_room=self._maps.clear)
        try:
            return self._maps.add(number, cached.descriptor)
        except OSError as error:
            raise os_errors.storage_error(str(cached.path), "map into memory", error) from error
        finally:
            cached.release()  # the map keeps the file and its lock

    def interrupt(self) -> None:
        self._fetcher.interrupt()

    def close(self) -> None:
        self._maps.clear()
        self._fetcher.interrupt()
        self._ahead.close()
        self._fetcher.close()


class _Maps:
    """Mapped shards, the most recently read last.

    Mapping a shard and its page faults cost as much as copying its rows, so some that are not
    needed now stay. Each is an open file, so their number is limited.
    """

    def __init__(self, files: Sequence[Shard]) -> None:
        self._files = files
        self._bytes = 0  # mapped
        self._max_maps = min(MAX_MAPPED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._maps: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    def get(self, number: int) -> NDArray[np.uint8] | None:
        """Return its rows if it is mapped."""
        if (rows := self._maps.get(number)) is not None:
            self._maps.move_to_end(number)
        return rows

    def add(self, number: int, descriptor: int) -> NDArray[np.uint8]:
        """Map an open file and return its rows. The descriptor may be closed afterwards."""
        while len(self._maps) >= self._max_maps:
            self._unmap(next(iter(self._maps)))
        shard = self._files[number]
        mapped = mmap.mmap(descriptor, shard.num_bytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        rows = self._maps[number] = np.frombuffer(mapped, np.uint8).reshape(
            shard.num_rows, shard.num_bytes // shard.num_rows
        )
        self._bytes += shard.num_bytes
        return rows

    def trim(self, needed: Set[int], idle_bytes: int) -> None:
        """Unmap shards not ``needed``, the longest unread first, down to ``idle_bytes``.

        Rows that a caller still has stay mapped.
        """
        if self._bytes <= idle_bytes:
            return
        idle = [number for number in self._maps if number not in needed]
        surplus = sum(self._files[number].num_bytes for number in idle) - idle_bytes
        for number in idle:
            if surplus <= 0:
                break
            surplus -= self._unmap(number)

    def clear(self) -> None:
        """Unmap all."""
        self._maps.clear()
        self._bytes = 0

    def _unmap(self, number: int) -> int:
        del self._maps[number]
        num_bytes = self._files[number].num_bytes
        self._bytes -= num_bytes
        return num_bytes
