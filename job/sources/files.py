"""Images as single files: in a folder of this machine, or below a prefix of an object store."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from job.config.errors import DataError
from job.sources.signature import Signature
from job.sources.source import MAX_FILE_BYTES, ImageBlock, ImageFile, describe_no_image, extension_of, is_image_name, label_of
from job.storage.store import ObjectStore


class _Entry(NamedTuple):
    name: str  # relative path
    path: str
    num_bytes: int
    changed_ns: int


class FolderSource:
    """The images of a folder and its sub-folders, sorted by path; the folder an image is in is its class."""

    kind = "folder"
    class_names = None

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self.ignored: Counter[str] = Counter()
        self.num_images = 0
        self.num_bytes = 0
        signature = Signature()
        for entry in _walk(str(folder), "", frozenset()):
            if is_image_name(entry.name):
                self.num_images += 1
                self.num_bytes += entry.num_bytes
                signature.add(entry.name, entry.num_bytes, entry.changed_ns)
            else:
                self.ignored[extension_of(entry.name)] += 1
        self.signature = signature.hex()
        if not self.num_images:
            raise DataError(f"{self.uri}: {describe_no_image(self.ignored)}")

    def items(self) -> Iterator[ImageFile | ImageBlock]:
        for entry in _walk(self.uri, "", frozenset()):
            if is_image_name(entry.name):
                # Names that are not UTF-8 are shown escaped, so that they can be printed and kept in the index.
                name = entry.name.encode("utf-8", "backslashreplace").decode()
                yield ImageFile(f"{self.uri}/{name}", label_of(name), entry.num_bytes, partial(_read_file, entry.path))


class StoreSource:
    """The images below a prefix of an object store, in the order of their keys."""

    kind = "s3"
    class_names = None

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.uri = store.uri
        self.ignored: Counter[str] = Counter()
        self.num_images = 0
        self.num_bytes = 0
        signature = Signature()
        for found in store.list():
            if is_image_name(found.key):
                self.num_images += 1
                self.num_bytes += found.num_bytes
                signature.add(*found)
            else:
                self.ignored[extension_of(found.key)] += 1
        self.signature = signature.hex()
        if not self.num_images:
            raise DataError(f"{self.uri}: {describe_no_image(self.ignored)}")

    def items(self) -> Iterator[ImageFile | ImageBlock]:
        for found in self._store.list():
            if is_image_name(found.key):
                name = f"{self.uri.rstrip('/')}/{found.key}"
                yield ImageFile(name, label_of(found.key), found.num_bytes, partial(self._store.read, found.key))


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[_Entry]:
    """Every regular file below ``folder``, sorted folder by folder; links are followed, but not into a folder that holds them."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); expected a folder of images that this user may read") from None
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        try:
            found = entry.stat()
        except OSError:  # a link that leads nowhere: it is still reported by name when it claims to be an image
            yield _Entry(prefix + entry.name, entry.path, 0, 0)
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {here})
        elif stat.S_ISREG(found.st_mode):
            yield _Entry(prefix + entry.name, entry.path, found.st_size, found.st_mtime_ns)
