"""One shard into the cache: found or fetched, verified, whatever other processes do to the same folder at the same time.

Knows one shard at a time, not which one is next (``ahead``).
"""

import os
import time
from collections.abc import Callable

from job.config.byte_size import bytes_text
from job.config.errors import StorageError
from job.data.index import Shard
from job.data.verify import damaged, descriptor_sha256
from job.storage.retry import Deadline
from job.storage.store import ObjectMissing, ObjectStore
from job.streaming.cache import CacheLost, Filling, Held, NoRoom, ShardCache
from job.streaming.events import StreamListener
from job.streaming.fetch import Fetcher, TooShort

POLL_SECONDS = (
    0.02  # between looks at a shard that another process fetches, and at a cache without room
)
UNHURRIED_SECONDS = (
    0.25  # the same, while nobody waits: a look at a full cache takes the folder's lock
)
FETCHES = 3  # of a shard whose hash is wrong each time


class Keeper:
    """Puts shards of ``store`` into ``cache``; threads may share one.

    ``verify=False`` trusts what is found in the cache; what is fetched is always verified.
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

    def has(self, shard: Shard) -> bool:
        """Whether it lies in the cache and was verified by this process: nothing is left to do but to open it. It will not go soon."""
        if shard.sha256 not in self._verified or not self._cache.will_be_used(shard):
            return False
        self._listener.found()
        return True

    def bring(self, shard: Shard, deadline: Deadline) -> None:
        """Have it in the cache, verified, and not the first to go; raises as ``hold`` does."""
        held = self._hold(shard, deadline, lambda: None)
        self._cache.will_be_used(shard)
        held.release()

    def hold(self, shard: Shard, deadline: Deadline, make_room: Callable[[], None]) -> Held:
        """The shard, verified, locked in the cache. Waits while another process fetches it, or while the cache has no room.

        ``make_room`` is called where there is none, to let go of what the caller has locked itself. ``DataError`` for a shard that is missing or
        damaged in the store, ``StorageError`` when deadline is over or the disk refuses.
        """
        held = self._cache.find(shard) if shard.sha256 in self._verified else None
        return held or self._hold(shard, deadline, make_room)

    def let_go(self, shard: Shard) -> None:
        """It was used just now, and is not needed soon."""
        self._cache.was_used(shard)

    def check(self) -> None:
        """``Stopped`` where the fetcher is closed."""
        self._fetcher.wait(0)

    def cache_bytes(self) -> int:
        """What the cache takes now."""
        return self._cache.bytes_taken()

    def _hold(self, shard: Shard, deadline: Deadline, make_room: Callable[[], None]) -> Held:
        started = time.monotonic()
        mismatches, disk_was_full = 0, False
        others_bytes_at: int | None = None
        while True:
            try:
                claim = self._cache.claim(shard)
            except NoRoom as error:
                make_room()
                if error.disk_error and disk_was_full:
                    raise error.disk_error from None
                disk_was_full = error.disk_error is not None
                if deadline.is_over:
                    raise self._no_room(deadline) from None
                self._fetcher.wait(POLL_SECONDS if deadline.is_started else UNHURRIED_SECONDS)
                continue
            if claim is None:
                written_at = self._cache.written_at(shard)
                if written_at != others_bytes_at:
                    deadline.extend()
                    others_bytes_at = written_at
                if deadline.is_over:
                    raise self._no_bytes(shard, deadline)
                self._fetcher.wait(POLL_SECONDS)
            elif isinstance(claim, Held):
                if self._is_sound(claim):
                    self._listener.found()
                    return claim
                claim.discard()
                self._listener.retried("corrupt")
            else:
                try:
                    if (problem := self._fill(claim, deadline)) is None:
                        held = claim.commit()
                        self._verified.add(shard.sha256)
                        self._listener.fetched(time.monotonic() - started)
                        return held
                except CacheLost:
                    self._listener.retried("cache_lost")
                    continue
                mismatches += 1
                if mismatches == FETCHES:
                    raise damaged(self._store, shard.name, f"{problem}, {FETCHES} times")
                self._listener.retried("corrupt")

    def _fill(self, filling: Filling, deadline: Deadline) -> str | None:
        """Fetch and verify; what is wrong with the bytes, if anything, and the claim is then given back."""
        shard = filling.shard
        try:
            found = self._fetcher.fetch(shard.name, shard.num_bytes, filling.descriptor, deadline)
        except TooShort as error:
            filling.abandon()
            return f"is {error.num_bytes:,} bytes; expected {shard.num_bytes:,} by index.json"
        except ObjectMissing:
            filling.abandon()
            raise damaged(self._store, shard.name, "not found") from None
        except BaseException:
            filling.abandon()
            raise
        if found != shard.sha256:
            filling.abandon()
            return f"has SHA-256 {found}; expected {shard.sha256} by index.json"
        return None

    def _is_sound(self, held: Held) -> bool:
        """Whether a file found in the cache is what its name says; looked at once by each process."""
        if held.shard.sha256 in self._verified:
            return True
        try:
            sound = os.fstat(held.descriptor).st_size == held.shard.num_bytes
            if sound and self._verify:
                sound = descriptor_sha256(held.descriptor) == held.shard.sha256
        except OSError:  # a bad sector: the store has a good copy
            sound = False
        if sound:
            self._verified.add(held.shard.sha256)
        return sound

    def _no_room(self, deadline: Deadline) -> StorageError:
        budget = bytes_text(self._cache.budget_bytes)
        return StorageError(
            f"data.cache_bytes is {budget}, and all of it has been in use by other runs for {deadline.seconds:g} s; expected room for one more"
            " shard: raise data.cache_bytes, or give each run a data.cache_dir of its own"
        )

    def _no_bytes(self, shard: Shard, deadline: Deadline) -> StorageError:
        return StorageError(
            f"{self._store.uri.rstrip('/')}/{shard.name}: another process of this machine fetches it, without a byte for {deadline.seconds:g} s"
            " (data.fetch_patience_seconds); expected the store to answer. The same command goes on from the last checkpoint when it does"
        )
