"""The shard cache: fetched shards on the local disk, within a budget of bytes, shared by all processes of a machine.

    CACHE_DIR/shards/SHA256.u8         a whole shard, verified before it got this name
    CACHE_DIR/shards/SHA256.partial    one that is being fetched; it has its full size from the start, so that a full disk is found then

Knows files and locks, not how a shard is fetched. Whoever uses a file holds a shared lock on it (``flock``), whoever fetches one an exclusive lock.
The kernel frees both when a process dies, of whatever cause, so nothing has to be put in order after a SIGKILL. What has no lock may be removed to
make room, the least recently used first. A file's name is its hash, so data sets share the folder and a changed shard is never taken for an old one.

    cache = ShardCache(Path("/cache"), 10**9)
    claim = cache.claim(shard)
    if isinstance(claim, Filling):
        ...fill claim.descriptor, verify...
        claim = claim.commit()
"""

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

from job.config.byte_size import bytes_text
from job.config.errors import StorageError
from job.data.index import Shard
from job.streaming.cache_folder import PARTIAL, WHOLE, CacheFolder, Taken

_SLACK_SHARE = 64  # when a small shard needs room, this part of the budget is made free at once, so that the folder is not listed for each


class NoRoom(Exception):
    """The budget is used up by shards that are all in use."""


class CacheLost(Exception):
    """The file that was being filled is no longer in the folder: somebody deleted it."""


class Held:
    """A shard in the cache that stays there until ``release``. Its bytes are read through ``descriptor``."""

    def __init__(self, shard: Shard, descriptor: int, path: Path) -> None:
        self.shard, self.descriptor, self.path = shard, descriptor, path

    def used(self) -> None:
        """Make it the most recently used of all."""
        with suppress(PermissionError):  # another user's file; then its age is the user's to keep
            os.utime(self.descriptor)

    def release(self) -> None:
        """It may go now."""
        os.close(self.descriptor)

    def discard(self) -> None:
        """Take a damaged file out of the folder; whoever has it mapped keeps it."""
        with suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == os.fstat(self.descriptor).st_ino:
                os.unlink(self.path)
        self.release()


class ShardCache:
    """The cache below ``cache_dir``. Every process keeps to its own ``budget_bytes`` for the whole folder. Threads may share one."""

    def __init__(self, cache_dir: Path, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes_taken = 0  # by all processes, as of the last claim
        self._folder = CacheFolder(cache_dir)
        self._is_counted = False

    def claim(self, shard: Shard) -> "Held | Filling | None":
        """The shard, or the duty to fetch it, or None while another process or thread fetches it.

        ``NoRoom`` when everything else is in use; ``StorageError`` for a disk that is full or a folder that cannot be used.
        """
        if shard.num_bytes > self.budget_bytes:
            raise StorageError(
                f"{shard.name}: is {bytes_text(shard.num_bytes)}, data.cache_bytes is {bytes_text(self.budget_bytes)}; expected room for it"
            )
        with self._folder.locked() as taken:
            self.bytes_taken = taken.read() or self.bytes_taken
            whole, partial = (self._folder.path / (shard.sha256 + suffix) for suffix in (WHOLE, PARTIAL))
            if (descriptor := _open_locked(whole, os.O_RDONLY, fcntl.LOCK_SH)) is not None:
                held = Held(shard, descriptor, whole)
                held.used()
                return held
            descriptor = _open_locked(partial, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
            if descriptor is None:
                return None
            try:
                self._reserve(descriptor, shard.num_bytes, taken)
            except BaseException:
                os.unlink(partial)
                os.close(descriptor)
                raise
            return Filling(self, shard, descriptor, partial, whole)

    def committed(self, filling: "Filling") -> None:
        """Give a filled file its name; ``CacheLost`` where the folder has it no longer."""
        with self._folder.locked():
            try:
                is_there = os.stat(filling.partial).st_ino == os.fstat(filling.descriptor).st_ino
            except FileNotFoundError:
                is_there = False
            if not is_there:
                raise CacheLost(str(filling.partial))
            os.rename(filling.partial, filling.whole)
            fcntl.flock(filling.descriptor, fcntl.LOCK_SH)

    def abandoned(self, filling: "Filling") -> None:
        """Remove a file that is not going to be filled."""
        with self._folder.locked() as taken, suppress(FileNotFoundError):
            if os.stat(filling.partial).st_ino == os.fstat(filling.descriptor).st_ino:
                os.unlink(filling.partial)
                self._count(taken, self.bytes_taken if (found := taken.read()) is None else found - filling.shard.num_bytes)

    def _reserve(self, descriptor: int, num_bytes: int, taken: Taken) -> None:
        """Give the open file its full size, removing others until the budget and the disk have room for it."""
        needed = num_bytes - os.fstat(descriptor).st_size  # one that a dead process left has its size, and is counted
        counted = taken.read() if self._is_counted else None
        if counted is None or counted + needed > self.budget_bytes:
            counted = self._make_room(needed)
            self._is_counted = True
        if counted + needed > self.budget_bytes:
            self._count(taken, counted)
            raise NoRoom
        self._count(taken, counted + needed)
        while True:
            try:
                _allocate(descriptor, num_bytes)
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._remove_oldest():
                    raise self._disk_error(error, num_bytes) from None

    def _make_room(self, needed: int) -> int:
        """Remove what is not in use, oldest first, where the budget has no room; the bytes that the folder then takes."""
        files = self._folder.files()
        total = sum(file.num_bytes for file in files)
        if total + needed <= self.budget_bytes:
            return total
        slack = self.budget_bytes // _SLACK_SHARE
        for file in files:
            if total + needed <= self.budget_bytes - (slack if needed < slack else 0):
                break
            if _remove_unused(file.path):
                total -= file.num_bytes
        return total

    def _remove_oldest(self) -> bool:
        return any(_remove_unused(file.path) for file in self._folder.files())

    def _count(self, taken: Taken, num_bytes: int) -> None:
        taken.write(num_bytes)
        self.bytes_taken = num_bytes

    def _disk_error(self, error: OSError, num_bytes: int) -> StorageError:
        holds = sum(file.num_bytes for file in self._folder.files())
        try:
            free = bytes_text(shutil.disk_usage(self._folder.path).free)
        except OSError:
            free = "an unknown part"
        return StorageError(
            f"{self._folder.path}: cannot take a shard of {bytes_text(num_bytes)} ({error.strerror}): {free} of the disk is free, the cache holds"
            f" {bytes_text(holds)} of the {bytes_text(self.budget_bytes)} that data.cache_bytes allows; expected room on the disk for the whole"
            " budget: free some, lower data.cache_bytes, or set another data.cache_dir"
        )


class Filling:
    """A shard to be written through ``descriptor``, ``[0, num_bytes)``, by whoever got this from ``claim``; nobody else fetches it meanwhile."""

    def __init__(self, cache: ShardCache, shard: Shard, descriptor: int, partial: Path, whole: Path) -> None:
        self.shard, self.descriptor, self.partial, self.whole = shard, descriptor, partial, whole
        self._cache = cache

    def commit(self) -> Held:
        """It is filled and verified. ``CacheLost`` where somebody deleted it."""
        try:
            self._cache.committed(self)
        except BaseException:
            os.close(self.descriptor)
            raise
        return Held(self.shard, self.descriptor, self.whole)

    def abandon(self) -> None:
        """It cannot be filled; the next one to ask for it may try."""
        try:
            self._cache.abandoned(self)
        finally:
            os.close(self.descriptor)


def _open_locked(path: Path, flags: int, lock: int) -> int | None:
    """A locked descriptor; None where there is no such file, or others' locks are in the way."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _allocate(descriptor: int, num_bytes: int) -> None:
    """Let the file have ``num_bytes`` of the disk now, where the file system can promise that."""
    try:
        os.posix_fallocate(descriptor, 0, num_bytes)
    except (AttributeError, OSError) as error:  # AttributeError: macOS
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(descriptor, num_bytes)


def _remove_unused(path: Path) -> bool:
    """Remove a file that nobody has locked; whether it is gone."""
    if not path.exists():
        return True
    if (descriptor := _open_locked(path, os.O_RDONLY, fcntl.LOCK_EX)) is None:
        return False
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return True
