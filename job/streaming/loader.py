"""Load one shard into the cache: find or download it, and verify it.

Other processes may use the same folder. Knows one shard, not which one is next (``ahead``).
"""

import os
import time
from collections.abc import Callable

from job.config.errors import StorageError
from job.config.text import bytes_text
from job.data.index import Shard
from job.data.verify import damaged, descriptor_sha256
from job.storage.retry import Deadline
from job.storage.store import ObjectMissing, ObjectStore
from job.streaming.cache import CachedShard, CacheFull, CacheLost, ShardCache, ShardDownload
from job.streaming.events import StreamListener
from job.streaming.fetch import Fetcher, TooShort

POLL_SECONDS = 0.02  # between checks of another process' download, and of a full cache
UNHURRIED_SECONDS = (
    0.25  # the same while nobody waits: checking a full cache takes the folder's lock
)
MAX_DOWNLOADS = 3  # of a shard whose hash is wrong each time


class ShardLoader:
    """Loads shards of ``store`` into ``cache``; threads may share one.

    ``verify=False`` trusts what is found in the cache; a download is always verified.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache: ShardCache,
        fetcher: Fetcher,
        verify: bool,
        listener: StreamListener,
    ) -> None:
        self._store, self._cache, self._fetcher, self._listener = store, cache, fetcher, listener
        self._verify = verify
        self._verified: set[str] = set()  # by this process

    def is_verified(self, shard: Shard) -> bool:
        """Return whether this process verified the shard; it may have been evicted since."""
        return shard.sha256 in self._verified

    def load(
        self, shard: Shard, deadline: Deadline, make_room: Callable[[], None] = lambda: None
    ) -> CachedShard:
        """Return the shard, verified and locked. Wait for other processes' downloads, and for room.

        A full cache calls ``make_room``, which should release what the caller has locked. Raise
        ``DataError`` if the shard is missing or damaged in the store, ``StorageError`` after
        ``deadline`` or if the disk refuses.
        """
        if self.is_verified(shard) and (cached := self._cache.find(shard)):
            return cached
        started, num_mismatches, disk_was_full = time.monotonic(), 0, False
        others_write_ns: int | None = None
        while True:
            try:
                claim = self._cache.claim(shard)
            except CacheFull as full:
                make_room()
                if full.disk_error and disk_was_full:
                    raise full.disk_error from None
                disk_was_full = full.disk_error is not None
                if deadline.is_over:
                    raise self._no_room(deadline) from None
                self._fetcher.wait(POLL_SECONDS if deadline.is_started else UNHURRIED_SECONDS)
                continue
            if claim is None:
                write_ns = self._cache.last_write_ns(shard)
                if write_ns != others_write_ns:
                    deadline.extend()
                    others_write_ns = write_ns
                if deadline.is_over:
                    raise self._no_progress(shard, deadline)
                self._fetcher.wait(POLL_SECONDS)
            elif isinstance(claim, CachedShard):
                if self._is_sound(claim):
                    self._listener.found()
                    return claim
                claim.discard()
                self._listener.retried("corrupt")
            else:
                try:
                    if (problem := self._download(claim, deadline)) is None:
                        cached = claim.commit()
                        self._verified.add(shard.sha256)
                        self._listener.fetched(time.monotonic() - started)
                        return cached
                except CacheLost:
                    self._listener.retried("cache_lost")
                    continue
                num_mismatches += 1
                if num_mismatches == MAX_DOWNLOADS:
                    raise damaged(self._store, shard.name, f"{problem}, {MAX_DOWNLOADS} times")
                self._listener.retried("corrupt")

    def _download(self, download: ShardDownload, deadline: Deadline) -> str | None:
        """Download and verify; return the problem with the bytes, if any, and then abandon."""
        shard, problem = download.shard, None
        try:
            sha256 = self._fetcher.fetch(shard.name, shard.num_bytes, download.descriptor, deadline)
            if sha256 != shard.sha256:
                problem = f"has SHA-256 {sha256}; expected {shard.sha256} by index.json"
        except TooShort as error:
            problem = f"is {error.num_bytes:,} bytes; expected {shard.num_bytes:,} by index.json"
        except BaseException as error:
            download.abandon()
            if isinstance(error, ObjectMissing):
                raise damaged(self._store, shard.name, "not found") from None
            raise
        if problem is not None:
            download.abandon()
        return problem

    def _is_sound(self, cached: CachedShard) -> bool:
        """Return whether a cached file is what its name says; checked once by each process."""
        shard = cached.shard
        if self.is_verified(shard):
            return True
        try:
            sound = os.fstat(cached.descriptor).st_size == shard.num_bytes
            if sound and self._verify:
                sound = descriptor_sha256(cached.descriptor) == shard.sha256
        except OSError:  # a bad sector: the store has a good copy
            sound = False
        if sound:
            self._verified.add(shard.sha256)
        return sound

    def _no_room(self, deadline: Deadline) -> StorageError:
        return StorageError(
            f"data.cache_bytes is {bytes_text(self._cache.budget_bytes)}, and all of it has been in"
            f" use by other runs for {deadline.seconds:g} s; expected room for one more shard:"
            " raise data.cache_bytes, or give each run its own data.cache_dir"
        )

    def _no_progress(self, shard: Shard, deadline: Deadline) -> StorageError:
        return StorageError(
            f"{self._store.uri.rstrip('/')}/{shard.name}: another process on this host is"
            f" downloading it and has received no data for {deadline.seconds:g} s"
            " (data.fetch_patience_seconds); expected the store to answer. When it does, run the"
            " same command to resume from the last checkpoint"
        )
