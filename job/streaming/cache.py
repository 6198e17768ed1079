"""The shard cache: fetched shards on the local disk, within a budget of bytes, shared by all processes of a machine.

    CACHE_DIR/shards/SHA256.u8         a whole shard, verified before it got this name
    CACHE_DIR/shards/SHA256.partial    one that is being fetched; it has its full size from the start, so that a full disk is found then

Knows files and locks, not how a shard is fetched. Whoever reads a file holds a shared lock on it (``flock``), whoever fetches one an exclusive lock.
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
import time
from contextlib import suppress
from pathlib import Path

from job.config.byte_size import bytes_text
from job.config.errors import StorageError
from job.data.index import Shard
from job.storage import os_errors
from job.streaming.cache_folder import PARTIAL, WHOLE, CacheFolder, Taken

_SLACK_SHARE = 64  # when a small shard needs room, this part of the budget is made free at once, so that the folder is not listed for each
_SOON_NS = (
    24 * 3600 * 10**9
)  # what will be used counts as used that far in the future: the last to go, and in the order of its bringing
_ATTEMPTS = 5  # to claim in a folder that somebody deletes at the same moment


class NoRoom(Exception):
    """The budget is used up by shards that are all in use; or the disk is, and then ``disk_error`` says so."""

    disk_error: StorageError | None = None


class CacheLost(Exception):
    """The file that was being filled is no longer in the folder: somebody deleted it."""


class Held:
    """A shard in the cache that stays there until ``release``. Its bytes are read through ``descriptor``.

    The lock belongs to the open file: a map of it keeps the lock, also after ``release``, for as long as it lives.
    """

    def __init__(self, shard: Shard, descriptor: int, path: Path) -> None:
        self.shard, self.descriptor, self.path = shard, descriptor, path

    def release(self) -> None:
        """It may go now, unless it is mapped."""
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
        self._folder = CacheFolder(cache_dir)
        self._is_counted = False
        self._marks: dict[str, int] = {}  # until when this process wants a shard to stay

    def claim(self, shard: Shard) -> "Held | Filling | None":
        """The shard, or the duty to fetch it, or None while another process or thread fetches it.

        ``NoRoom`` when everything else is in use; ``StorageError`` for a folder that cannot be used.
        """
        if shard.num_bytes > self.budget_bytes:
            raise StorageError(
                f"{shard.name}: is {bytes_text(shard.num_bytes)}, data.cache_bytes is {bytes_text(self.budget_bytes)}; expected room for it"
            )
        for attempts_left in reversed(range(_ATTEMPTS)):
            with self._folder.locked() as taken:
                try:
                    return self._claim(shard, taken)
                except FileNotFoundError as error:  # the folder was deleted at this moment
                    if not attempts_left:
                        raise self._folder.unusable(error) from None
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE):
                        raise os_errors.storage_error(
                            str(self._folder.path), "open a shard", error
                        ) from None
                    raise self._folder.unusable(error) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def find(self, shard: Shard) -> Held | None:
        """The shard where it lies in the cache; as ``claim``, but in microseconds, without the folder's lock."""
        path = self._path(shard, WHOLE)
        try:
            descriptor = _open_locked(path, os.O_RDONLY, fcntl.LOCK_SH)
        except OSError:  # ``claim`` says what is wrong
            return None
        if descriptor is None:
            return None
        if os.fstat(descriptor).st_nlink == 0:  # it was removed between the opening and the lock
            os.close(descriptor)
            return None
        return Held(shard, descriptor, path)

    def will_be_used(self, shard: Shard) -> bool:
        """Let it be among the last to go; whether it is there."""
        self._marks[shard.sha256] = time.time_ns() + _SOON_NS
        return self._set_used(shard, self._marks[shard.sha256])

    def was_used(self, shard: Shard) -> None:
        """Let it be the most recently used of those that are not needed soon; unless another process marked it since."""
        mark = self._marks.pop(shard.sha256, 0)
        with suppress(OSError):
            if self._path(shard, WHOLE).stat().st_mtime_ns > mark > 0:
                return
        self._set_used(shard, time.time_ns())

    def written_at(self, shard: Shard) -> int | None:
        """When whoever fetches it last wrote a byte of it, in nanoseconds; None where nobody does."""
        with suppress(OSError):
            return self._path(shard, PARTIAL).stat().st_mtime_ns
        return None

    def bytes_taken(self) -> int:
        """By all processes, as last counted."""
        return self._folder.bytes_taken()

    def committed(self, filling: "Filling") -> None:
        """Give a filled file its name; ``CacheLost`` where the folder has it no longer."""
        with self._folder.locked():
            try:
                if os.stat(filling.partial).st_ino != os.fstat(filling.descriptor).st_ino:
                    raise CacheLost(str(filling.partial))
                os.rename(filling.partial, filling.whole)
            except FileNotFoundError:
                raise CacheLost(str(filling.partial)) from None
            except OSError as error:
                raise os_errors.storage_error(str(filling.whole), "keep a shard", error) from None
            fcntl.flock(filling.descriptor, fcntl.LOCK_SH)

    def abandoned(self, filling: "Filling") -> None:
        """Remove a file that is not going to be filled."""
        with self._folder.locked() as taken, suppress(FileNotFoundError):
            if os.stat(filling.partial).st_ino == os.fstat(filling.descriptor).st_ino:
                os.unlink(filling.partial)
                if (counted := taken.read()) is not None:
                    taken.write(counted - filling.shard.num_bytes)

    def _claim(self, shard: Shard, taken: Taken) -> "Held | Filling | None":
        whole, partial = self._path(shard, WHOLE), self._path(shard, PARTIAL)
        if (descriptor := _open_locked(whole, os.O_RDONLY, fcntl.LOCK_SH)) is not None:
            return Held(shard, descriptor, whole)
        descriptor = _open_locked(partial, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if descriptor is None:
            return None
        try:
            self._reserve(descriptor, shard.num_bytes, taken)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)
            os.close(descriptor)
            raise
        return Filling(self, shard, descriptor, partial, whole)

    def _reserve(self, descriptor: int, num_bytes: int, taken: Taken) -> None:
        """Give the open file its full size, removing others until the budget and the disk have room for it."""
        needed = (
            num_bytes - os.fstat(descriptor).st_size
        )  # one that a dead process left has its size, and is counted
        counted = taken.read() if self._is_counted else None
        if counted is None or counted + needed > self.budget_bytes:
            counted = self._make_room(needed)
            self._is_counted = True
        if counted + needed > self.budget_bytes:
            taken.write(counted)
            raise NoRoom
        taken.write(counted + needed)
        while True:
            try:
                _allocate(descriptor, num_bytes)
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise self._disk_error(error, num_bytes) from None
                if not self._remove_oldest():
                    full = NoRoom()
                    full.disk_error = self._disk_error(error, num_bytes)
                    raise full from None

    def _make_room(self, needed: int) -> int:
        """Remove what is not in use, oldest first, where the budget has no room; the bytes that the folder then takes."""
        files = self._folder.files()
        total = sum(file.num_bytes for file in files)
        if total + needed <= self.budget_bytes:
            return total
        slack, now = self.budget_bytes // _SLACK_SHARE, time.time_ns()
        for file in files:
            is_needed_soon = (
                file.used_ns > now
            )  # then not for the slack: it would only be fetched again
            if total + needed <= self.budget_bytes - (
                slack if needed < slack and not is_needed_soon else 0
            ):
                break
            if _remove_unused(file.path):
                total -= file.num_bytes
        return total

    def _remove_oldest(self) -> bool:
        return any(_remove_unused(file.path) for file in self._folder.files())

    def _set_used(self, shard: Shard, used_ns: int) -> bool:
        try:
            os.utime(self._path(shard, WHOLE), ns=(used_ns, used_ns))
        except PermissionError:  # another user's file; then its age is theirs to keep
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
            f"{self._folder.path}: cannot take a shard of {bytes_text(num_bytes)} ({error.strerror}): {free} of the disk is free, the cache holds"
            f" {bytes_text(holds)} of the {bytes_text(self.budget_bytes)} that data.cache_bytes allows; expected room on the disk for the whole"
            " budget: free some, lower data.cache_bytes, or set another data.cache_dir"
        )


class Filling:
    """A shard to be written through ``descriptor``, ``[0, num_bytes)``, by whoever got this from ``claim``; nobody else fetches it meanwhile."""

    def __init__(
        self, cache: ShardCache, shard: Shard, descriptor: int, partial: Path, whole: Path
    ) -> None:
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
    """A locked descriptor; None where others' locks are in the way, or where there is no such file and ``flags`` do not make one."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        if flags & os.O_CREAT:  # the folder is gone
            raise
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
    try:
        if (descriptor := _open_locked(path, os.O_RDONLY, fcntl.LOCK_EX)) is None:
            return not path.exists()
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    except PermissionError:  # another user's
        return False
    return True
