"""The folder of the shard cache: whose it is, who may change it now, and how many bytes it holds.

    CACHE_DIR/shards/CACHEDIR.TAG     says whose the folder is; backup programs pass over it (https://bford.info/cachedir)
    CACHE_DIR/shards/.~lock           locked while the folder is changed; in it, the bytes taken

Knows names, sizes and ages of files, not what is fetched into them. A folder without our tag is never written to, and only names of ours are ever
removed. The count is raised before a file grows and lowered after one went, so a process killed in between leaves it too high, never too low; it
is made anew from the files when a process begins and whenever it says that there is no room.
"""

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
_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# The shard cache of dcgan-train. It may be deleted at any time.\n"
_OURS = re.compile(rf"[0-9a-f]{{64}}({re.escape(WHOLE)}|{re.escape(PARTIAL)})")
_ATTEMPTS = 50  # to open a folder that somebody deletes at the same moment


class CachedFile(NamedTuple):
    """A file of the cache; ``used_ns`` is when it was last used, or will be."""

    used_ns: int
    num_bytes: int
    path: Path


class CacheFolder:
    """``cache_dir/shards``, made when it is first locked, and made again when somebody deleted it."""

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / FOLDER
        self._is_ours = (
            False  # as of the first look; whoever deletes it later does not put another there
        )

    @contextmanager
    def locked(self) -> Iterator["Taken"]:
        """Keep all others, threads and processes, from changing the folder. ``StorageError`` where it cannot be used."""
        try:
            descriptor = self._open_lock()
        except OSError as error:
            raise self.unusable(error) from None
        try:
            yield Taken(descriptor)
        finally:
            os.close(
                descriptor
            )  # and with it the lock; the kernel does the same for a process that dies

    def files(self) -> list[CachedFile]:
        """Ours, the least recently used first."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        found.append(CachedFile(stat.st_mtime_ns, stat.st_size, Path(entry.path)))
        return sorted(found)

    def bytes_taken(self) -> int:
        """By all processes, as last counted; looked at without the lock."""
        with suppress(OSError), open(self.path / _LOCK, "rb") as file:
            return Taken(file.fileno()).read() or 0
        return 0

    def unusable(self, error: OSError) -> StorageError:
        """The error for a folder that the system refuses."""
        return StorageError(
            f"{self.path}: cannot be used as a cache ({error.strerror}); expected a folder on a local disk that this user may write:"
            " set another data.cache_dir"
        )

    def _open_lock(self) -> int:
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                if not self._is_ours:
                    self._make()
                descriptor = os.open(
                    self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
                )
            except (
                FileNotFoundError,
                FileExistsError,
            ):  # the folder was deleted, or made again, at this moment
                self._is_ours = False
                if not attempts_left:
                    raise
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if (
                    os.stat(self.path / _LOCK).st_ino == os.fstat(descriptor).st_ino
                    and (self.path / _TAG).exists()
                ):
                    return descriptor
            os.close(
                descriptor
            )  # the folder was deleted while we waited, or loses its files just now
            self._is_ours = False
        raise FileNotFoundError(None, "somebody keeps deleting it")

    def _make(self) -> None:
        """Make the folder where there is none, and see that it is ours."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._is_tagged():
            foreign = [
                name
                for name in os.listdir(self.path)
                if name != _TAG and not name.startswith(OWN_PREFIX) and not _OURS.fullmatch(name)
            ]
            if (
                foreign or (self.path / _TAG).exists()
            ) and not self._is_tagged():  # asked again: another process may have made it meanwhile
                raise StorageError(
                    f"{self.path}: is no cache of dcgan-train: holds {sorted(foreign or [_TAG])[0]} and no {_TAG} of ours; expected an empty"
                    " folder, or none: set another data.cache_dir"
                )
            with whole_file(self.path / _TAG) as temporary:
                temporary.write_bytes(_TAG_TEXT)
        self._is_ours = True

    def _is_tagged(self) -> bool:
        try:
            return (self.path / _TAG).read_bytes() == _TAG_TEXT
        except FileNotFoundError:
            return False


class Taken:
    """The bytes that the cache takes, kept in the locked file; None where that says nothing readable."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """As last written."""
        digits = os.pread(self._descriptor, 32, 0).strip()
        return int(digits) if digits.isdigit() else None

    def write(self, num_bytes: int) -> None:
        """In one write of fixed length: the old count or the new one."""
        os.pwrite(self._descriptor, b"%20d\n" % max(0, num_bytes), 0)
