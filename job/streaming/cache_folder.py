"""The folder of the shard cache: its tag, its locks, and the count of the bytes in it.

    CACHE_DIR/shards/CACHEDIR.TAG    backup programs skip it (https://bford.info/cachedir)
    CACHE_DIR/shards/.~lock          locked while the folder changes; holds the bytes in use

Knows names, sizes and ages of files, not their content. A folder without the tag is never written
to, and only files with cache names are ever removed. The count is raised before a file grows and
lowered after one is removed, so a process killed in between leaves it too high, never too low. It
is recounted from the files when a process starts and whenever it leaves no room. ``filelock``
offers neither shared locks nor a descriptor to keep the count in, and it polls: hence ``flock``
here.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from job.config.errors import StorageError
from job.storage.atomic import whole_file
from job.storage.keys import OWN_PREFIX

FOLDER = "shards"
WHOLE, PARTIAL = ".u8", ".partial"
_TAG, _LOCK = "CACHEDIR.TAG", f"{OWN_PREFIX}lock"
_TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The shard cache of dcgan-train. It may be deleted at any time.\n"
)
_CACHE_NAME = re.compile(rf"[0-9a-f]{{64}}({re.escape(WHOLE)}|{re.escape(PARTIAL)})")
_MAX_ATTEMPTS = 50  # to open a folder that is being deleted


class CachedFile(NamedTuple):
    """A file of the cache; ``used_ns`` is when it was last used, or will be."""

    used_ns: int
    num_bytes: int
    path: Path


class CacheUsage:
    """The count of bytes in use, kept in the locked file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """Return the count; None if it is missing or damaged."""
        digits = os.pread(self._descriptor, 32, 0).strip()
        return int(digits) if digits.isdigit() else None

    def write(self, num_bytes: int) -> None:
        """Replace the count in one write of fixed length: the old count or the new one."""
        os.pwrite(self._descriptor, b"%20d\n" % max(0, num_bytes), 0)


class CacheFolder:
    """``cache_dir/shards``, created by the first lock, and again if somebody deleted it."""

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / FOLDER
        self._is_checked = False  # the tag, once; nobody puts another program's folder there later

    @contextmanager
    def locked(self) -> Iterator[CacheUsage]:
        """Keep other threads and processes from changing the folder.

        Raise ``StorageError`` if it cannot be used.
        """
        try:
            descriptor = self._open_lock()
        except OSError as error:
            raise self.unusable(error) from None
        try:
            yield CacheUsage(descriptor)
        finally:
            os.close(descriptor)  # releases the lock; the kernel does so for a process that dies

    def files(self) -> list[CachedFile]:
        """Return the files of the cache, the least recently used first."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if _CACHE_NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        found.append(CachedFile(stat.st_mtime_ns, stat.st_size, Path(entry.path)))
        return sorted(found)

    def used_bytes(self) -> int:
        """Return the bytes that all processes use, as last counted; read without the lock."""
        with suppress(OSError), open(self.path / _LOCK, "rb") as file:
            return CacheUsage(file.fileno()).read() or 0
        return 0

    def unusable(self, error: OSError) -> StorageError:
        """Return the error for a folder that the system refuses."""
        return StorageError(
            f"{self.path}: cannot be used as a cache ({error.strerror}); expected a folder on a"
            " local disk that this user may write: set another data.cache_dir"
        )

    def _open_lock(self) -> int:
        lock = self.path / _LOCK
        for attempts_left in reversed(range(_MAX_ATTEMPTS)):
            try:
                if not self._is_checked:
                    self._make()
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except (FileNotFoundError, FileExistsError):  # deleted, or created, at this moment
                self._is_checked = False
                if not attempts_left:
                    raise
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                is_current = os.stat(lock).st_ino == os.fstat(descriptor).st_ino
                if is_current and (self.path / _TAG).exists():
                    return descriptor
            os.close(descriptor)  # the folder was deleted during the wait, or is being deleted
            self._is_checked = False
        raise FileNotFoundError(None, "somebody keeps deleting it")

    def _make(self) -> None:
        """Create the folder with its tag; raise ``StorageError`` if another program's is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._is_tagged():
            foreign = [
                name
                for name in os.listdir(self.path)
                if name != _TAG
                and not name.startswith(OWN_PREFIX)
                and not _CACHE_NAME.fullmatch(name)
            ]
            # Read again: another process may have created it meanwhile.
            if (foreign or (self.path / _TAG).exists()) and not self._is_tagged():
                raise StorageError(
                    f"{self.path}: is not a dcgan-train cache"
                    f" (found {sorted(foreign or [_TAG])[0]}, no {_TAG} of dcgan-train);"
                    " use an empty or a new directory as data.cache_dir"
                )
            with whole_file(self.path / _TAG) as temporary:
                temporary.write_bytes(_TAG_TEXT)
        self._is_checked = True

    def _is_tagged(self) -> bool:
        try:
            return (self.path / _TAG).read_bytes() == _TAG_TEXT
        except FileNotFoundError:
            return False


def is_same_file(path: Path, descriptor: int) -> bool:
    """Return whether ``path`` is still the open file, not another process' new one."""
    return os.stat(path).st_ino == os.fstat(descriptor).st_ino


def open_locked(path: Path, flags: int, lock: int) -> int | None:
    """Return a locked descriptor; None if others hold a lock, or if the file does not exist."""
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


def allocate(descriptor: int, num_bytes: int) -> None:
    """Reserve ``num_bytes`` of the disk for the file, if the file system can promise that."""
    try:
        os.posix_fallocate(descriptor, 0, num_bytes)
    except (AttributeError, OSError) as error:  # AttributeError: macOS
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(descriptor, num_bytes)


def evict(path: Path) -> bool:
    """Remove a file unless somebody has locked it; return whether it is gone."""
    try:
        if (descriptor := open_locked(path, os.O_RDONLY, fcntl.LOCK_EX)) is None:
            return not path.exists()
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    except PermissionError:  # another user's
        return False
    return True
