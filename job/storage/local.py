"""``LocalStore``: a folder as an object store; a key is a file's path below it.

Knows no S3 and no checkpoints. One folder may serve several processes, and several hosts where it
is a network file system.

    store = LocalStore(Path("runs/one"))
    tag = store.write_if("lease.json", b"{}", None)    # None: another writer was first
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from job.config.errors import StorageError
from job.storage.atomic import open_in_folder, whole_file
from job.storage.keys import OWN_PREFIX, checked_key
from job.storage.os_errors import storage_error
from job.storage.paths import file_uri
from job.storage.store import PIECE_BYTES, ObjectInfo, ObjectMissing

_LOCK = f"{OWN_PREFIX}lock"
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """Objects below a folder, which the first write creates. See ``ObjectStore``."""

    def __init__(self, root: Path) -> None:
        """Open without any access: a missing folder is an empty store."""
        self.root = root.absolute()
        self.uri = file_uri(self.root)

    def read(self, key: str) -> bytes:
        with self._storage_errors("read", key), self._open(key) as file:
            return file.read()

    def read_range(self, key: str, start: int, num_bytes: int) -> bytes:
        with self._storage_errors("read", key), self._open(key) as file:
            file.seek(start)
            return file.read(num_bytes)

    def stat(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with self._storage_errors("inspect", key):
            try:
                found = path.stat()
            except _ABSENT:
                self._check_root()
                return None
        return _info(key, found) if stat.S_ISREG(found.st_mode) else None

    def write(self, key: str, data: bytes) -> None:
        with self._replacing("write", key) as temporary:
            temporary.write_bytes(data)

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        path = self._path(key)
        with self._storage_errors("write", key), _folder_lock(path.parent, create=True):
            if _tag(path) != etag:
                return None
            with whole_file(path) as temporary:
                temporary.write_bytes(data)
            return _tag(path)

    def upload(self, path: Path, key: str) -> None:
        with self._replacing(f"upload {path}", key) as temporary:
            shutil.copyfile(path, temporary)

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        with self._storage_errors("read", key), self._open(key) as file:
            file.seek(start)
            while num_bytes > 0 and (piece := file.read(min(num_bytes, PIECE_BYTES))):
                write(piece)
                num_bytes -= len(piece)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._storage_errors("list", prefix):
            yield from self._walk("", prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._storage_errors("delete", key), _folder_lock(path.parent, create=False):
            try:
                if path.is_dir():  # not an object
                    return
                path.unlink()
            except _ABSENT:
                self._check_root()
                return
        self._remove_empty(path.parent)

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    @contextmanager
    def _replacing(self, action: str, key: str) -> Iterator[Path]:
        """Yield a temporary file that becomes the object."""
        path = self._path(key)
        with (
            self._storage_errors(action, key),
            _folder_lock(path.parent, create=False),
            whole_file(path) as temporary,
        ):
            yield temporary

    def _path(self, key: str) -> Path:
        return self.root / checked_key(self.uri, key)

    def _open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except _ABSENT:
            self._check_root()
            raise ObjectMissing.at(self.uri, key) from None

    def _check_root(self) -> None:
        """Raise ``StorageError`` if the root is a file: a wrong URI, not a missing object."""
        if self.root.exists() and not self.root.is_dir():
            raise StorageError(f"{self.uri}: found a file; expected a folder; correct the URI")

    def _walk(self, folder_key: str, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below ``folder_key`` ("" or ending in "/").

        A folder sorts with its slash: ``a-b`` comes before ``a/b``, as on S3.
        """
        try:
            with os.scandir(self.root / folder_key) as entries:
                names = [
                    entry.name + "/" if entry.is_dir() else entry.name
                    for entry in entries
                    if not entry.name.startswith(OWN_PREFIX)
                ]
        except FileNotFoundError:  # no store yet, or removed since its parent was listed
            return
        for key in sorted((folder_key + name for name in names), key=os.fsencode):
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix) and (info := self.stat(key)):
                yield info

    def _remove_empty(self, folder: Path) -> None:
        """Remove empty folders except the root: on S3 they disappear with the last object."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:  # not empty, or removed by another
                return
            folder = folder.parent

    @contextmanager
    def _storage_errors(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(f"{self.uri}/{key}" if key else self.uri, action, error) from error


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    """Return the object with a tag of write time, size and inode, which every write changes.

    A hash would read every shard for each listing.
    """
    return ObjectInfo(
        key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    )


def _tag(path: Path) -> str | None:
    """Return the tag of the object at ``path``. Open it: network file systems cache a bare stat."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        return _info("", found).etag if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(descriptor)


@contextmanager
def _folder_lock(folder: Path, *, create: bool) -> Iterator[None]:
    """Keep other writers out of ``folder`` while a tag is compared and the file replaced.

    A conditional write creates the lock file, which stays: removing it would let two writers hold
    different locks. Plain writes take the lock if the file exists, so a lease's folder is safe and
    folders of shards and checkpoints have none. ``flock`` belongs to the open file, so it also
    works between threads, and the kernel releases it when the process dies.
    """
    if not create and not (folder / _LOCK).exists():
        yield
        return
    descriptor = open_in_folder(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
