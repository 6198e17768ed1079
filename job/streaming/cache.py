"""The shard cache: downloaded shards on the local disk, within a budget, shared by all processes.

    CACHE_DIR/shards/SHA256.u8         a whole, verified shard
    CACHE_DIR/shards/SHA256.partial    a shard being downloaded, allocated whole at the start,
                                       so that a full disk fails before the download

Knows files and locks, not how a shard is downloaded. A reader holds a shared ``flock`` on its file,
a downloader an exclusive one. The kernel releases both when a process dies, so a SIGKILL leaves
nothing to clean up. A file without a lock may be evicted, the least recently used first. A file's
name is its hash, so data sets share the folder and a changed shard gets another file.

    cache = ShardCache(Path("/cache"), 10**9)
    claim = cache.claim(shard)
    if isinstance(claim, ShardDownload):
        ...fill claim.descriptor, verify...
        claim = claim.commit()

The states of a shard are drawn in docs/streaming.md.
"""

import errno
import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from job.config.errors import StorageError
from job.config.text import bytes_text
from job.data.index import Shard
from job.storage import os_errors
from job.streaming.cache_folder import (
    PARTIAL,
    WHOLE,
    CacheFolder,
    CacheUsage,
    allocate,
    evict,
    is_same_file,
    open_locked,
)

# If a small shard needs room, this share of the budget is freed at once, so that the folder is not
# listed for each of them.
_SLACK_SHARE = 64
# A shard marked as needed counts as used this far in the future: evicted last, in mark order.
_NEEDED_NS = 24 * 3600 * 10**9
_MAX_ATTEMPTS = 5  # to claim in a folder that is being deleted


class CacheFull(Exception):
    """The shards in use take the whole budget, or the whole disk if ``disk_error`` is set."""

    disk_error: StorageError | None = None


class CacheLost(Exception):
    """The file being downloaded is no longer in the folder: somebody deleted it."""


class CachedShard:
    """A shard locked in the cache until ``release``. Its bytes are read through ``descriptor``.

    The lock belongs to the open file: a memory map keeps it, also after ``release``.
    """

    def __init__(self, shard: Shard, descriptor: int, path: Path) -> None:
        self.shard, self.descriptor, self.path = shard, descriptor, path

    def release(self) -> None:
        """Allow eviction, unless the file is mapped."""
        os.close(self.descriptor)

    def discard(self) -> None:
        """Remove a damaged file from the folder; processes that mapped it keep their copy."""
        with suppress(FileNotFoundError):
            if is_same_file(self.path, self.descriptor):
                os.unlink(self.path)
        self.release()


class ShardDownload:
    """The exclusive right to download a shard: fill ``descriptor``, then commit or abandon."""

    def __init__(self, cache: "ShardCache", shard: Shard, descriptor: int) -> None:
        self.shard, self.descriptor = shard, descriptor
        self._cache = cache

    def commit(self) -> CachedShard:
        """Return the shard, filled and verified; raise ``CacheLost`` if somebody deleted it."""
        try:
            path = self._cache.commit(self.shard, self.descriptor)
        except BaseException:
            os.close(self.descriptor)
            raise
        return CachedShard(self.shard, self.descriptor, path)

    def abandon(self) -> None:
        """Remove the file and let others download the shard."""
        try:
            self._cache.abandon(self.shard, self.descriptor)
        finally:
            os.close(self.descriptor)


class ShardCache:
    """The cache below ``cache_dir``, at most ``budget_bytes`` with the files of other processes.

    Safe for threads.
    """

    def __init__(self, cache_dir: Path, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._folder = CacheFolder(cache_dir)
        self._is_counted = False
        self._needed_until: dict[str, int] = {}  # by SHA-256: the marks of this process

    def claim(self, shard: Shard) -> CachedShard | ShardDownload | None:
        """Return the shard, or the right to download it, or None while another one downloads it.

        Raise ``CacheFull`` if everything else is in use, ``StorageError`` if the folder cannot be
        used.
        """
        if shard.num_bytes > self.budget_bytes:
            raise StorageError(
                f"{shard.name}: is {bytes_text(shard.num_bytes)}, data.cache_bytes is"
                f" {bytes_text(self.budget_bytes)}; expected room for it"
            )
        for attempts_left in reversed(range(_MAX_ATTEMPTS)):
            with self._folder.locked() as usage:
                try:
                    return self._claim(shard, usage)
                except FileNotFoundError as error:  # the folder was deleted at this moment
                    if not attempts_left:
                        raise self._folder.unusable(error) from None
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE):
                        path = str(self._folder.path)
                        raise os_errors.storage_error(path, "open a shard", error) from None
                    raise self._folder.unusable(error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def find(self, shard: Shard) -> CachedShard | None:
        """Return the shard if it is cached; in microseconds, without the folder's lock."""
        path = self._path(shard, WHOLE)
        try:
            descriptor = open_locked(path, os.O_RDONLY, fcntl.LOCK_SH)
        except OSError:  # ``claim`` reports it
            return None
        if descriptor is None:
            return None
        if os.fstat(descriptor).st_nlink == 0:  # evicted between open and lock
            os.close(descriptor)
            return None
        return CachedShard(shard, descriptor, path)

    def mark_needed(self, shard: Shard) -> bool:
        """Let the shard be evicted last; return whether it is cached."""
        until = self._needed_until[shard.sha256] = time.time_ns() + _NEEDED_NS
        return self._set_used(shard, until)

    def mark_used(self, shard: Shard) -> None:
        """Let the shard count as used now, unless another process marked it as needed since."""
        until = self._needed_until.pop(shard.sha256, 0)
        with suppress(OSError):
            if self._path(shard, WHOLE).stat().st_mtime_ns > until > 0:
                return
        self._set_used(shard, time.time_ns())

    def last_write_ns(self, shard: Shard) -> int | None:
        """Return when a byte of the shard was last downloaded; None if no process downloads it."""
        with suppress(OSError):
            return self._path(shard, PARTIAL).stat().st_mtime_ns
        return None

    def used_bytes(self) -> int:
        """Return the bytes that all processes use, as last counted."""
        return self._folder.used_bytes()

    def commit(self, shard: Shard, descriptor: int) -> Path:
        """Give a downloaded file its name and a shared lock; raise ``CacheLost`` if it is gone."""
        partial, whole = self._path(shard, PARTIAL), self._path(shard, WHOLE)
        with self._folder.locked():
            try:
                if not is_same_file(partial, descriptor):
                    raise CacheLost(str(partial))
                os.rename(partial, whole)
            except FileNotFoundError:
                raise CacheLost(str(partial)) from None
            except OSError as error:
                raise os_errors.storage_error(str(whole), "keep a shard", error) from None
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return whole

    def abandon(self, shard: Shard, descriptor: int) -> None:
        """Remove the file of a download that failed."""
        partial = self._path(shard, PARTIAL)
        with self._folder.locked() as usage, suppress(FileNotFoundError):
            if is_same_file(partial, descriptor):
                os.unlink(partial)
                if (counted := usage.read()) is not None:
                    usage.write(counted - shard.num_bytes)

    def _claim(self, shard: Shard, usage: CacheUsage) -> CachedShard | ShardDownload | None:
        whole, partial = self._path(shard, WHOLE), self._path(shard, PARTIAL)
        if (descriptor := open_locked(whole, os.O_RDONLY, fcntl.LOCK_SH)) is not None:
            return CachedShard(shard, descriptor, whole)
        descriptor = open_locked(partial, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if descriptor is None:
            return None
        try:
            self._reserve(descriptor, shard.num_bytes, usage)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)
            os.close(descriptor)
            raise
        return ShardDownload(self, shard, descriptor)

    def _reserve(self, descriptor: int, num_bytes: int, usage: CacheUsage) -> None:
        """Give the open file its full size, evicting others until budget and disk have room."""
        # A file that a dead process left has its size already, and is counted.
        needed = num_bytes - os.fstat(descriptor).st_size
        counted = usage.read() if self._is_counted else None
        if counted is None or counted + needed > self.budget_bytes:
            counted = self._make_room(needed)
            self._is_counted = True
        if counted + needed > self.budget_bytes:
            usage.write(counted)
            raise CacheFull
        usage.write(counted + needed)
        while True:
            try:
                allocate(descriptor, num_bytes)
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise self._disk_error(error, num_bytes) from None
                if not any(evict(file.path) for file in self._folder.files()):
                    full = CacheFull()
                    full.disk_error = self._disk_error(error, num_bytes)
                    raise full from None

    def _make_room(self, needed: int) -> int:
        """Evict unused files, oldest first, until the budget has room; return the bytes in use."""
        files = self._folder.files()
        total = sum(file.num_bytes for file in files)
        if total + needed <= self.budget_bytes:
            return total
        slack, now = self.budget_bytes // _SLACK_SHARE, time.time_ns()
        for file in files:
            # No slack at the cost of a shard that is needed: it would only be downloaded again.
            extra = slack if needed < slack and file.used_ns <= now else 0
            if total + needed <= self.budget_bytes - extra:
                break
            if evict(file.path):
                total -= file.num_bytes
        return total

    def _set_used(self, shard: Shard, used_ns: int) -> bool:
        try:
            os.utime(self._path(shard, WHOLE), ns=(used_ns, used_ns))
        except PermissionError:  # another user's file, whose age is theirs to keep
            return True
        except OSError:
            return False
        return True

    def _path(self, shard: Shard, suffix: str) -> Path:
        return self._folder.path / (shard.sha256 + suffix)

    def _disk_error(self, error: OSError, num_bytes: int) -> StorageError:
        holds = sum(file.num_bytes for file in self._folder.files())
        try:
            free = bytes_text(shutil.disk_usage(self._folder.path).free)
        except OSError:
            free = "an unknown part"
        return StorageError(
            f"{self._folder.path}: cannot take a shard of {bytes_text(num_bytes)}"
            f" ({error.strerror}): {free} of the disk is free, the cache holds {bytes_text(holds)}"
            f" of the {bytes_text(self.budget_bytes)} that data.cache_bytes allows; expected room"
            " for the whole budget: free some, lower data.cache_bytes, or set another"
            " data.cache_dir"
        )
