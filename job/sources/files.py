"""Images as single files: in a folder of this machine, or below a prefix of an object store."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from job.config.errors import DataError
from job.sources.formats import (
    describe_no_image,
    extension_of,
    is_hidden,
    is_image_name,
    label_of,
)
from job.sources.source import (
    MAX_FILE_BYTES,
    ImageFile,
    Items,
    Signature,
    printable,
    refuse,
)
from job.storage.store import ObjectStore


class _Entry(NamedTuple):
    name: str  # relative path
    path: str
    num_bytes: int = 0
    mtime_ns: int = 0
    problem: str = ""  # why a folder cannot be listed


class FolderSource:
    """The images of a folder and its sub-folders, by path; an image's folder is its class."""

    kind = "folder"
    class_names = None

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self.ignored: Counter[str] = Counter()
        self.num_images = 0
        self.num_bytes = 0
        self._unlisted: dict[str, _Entry] = {}
        signature = Signature()
        for entry in _walk(str(folder), "", frozenset()):
            if entry.problem:
                self._unlisted[entry.path] = entry
                self.num_images += 1
            elif is_image_name(entry.name):
                self.num_images += 1
                self.num_bytes += entry.num_bytes
                signature.add(entry.name, entry.num_bytes, entry.mtime_ns)
            else:
                self.ignored[extension_of(entry.name)] += 1
        self.signature = signature.hex()
        if not self.num_images:
            raise DataError(f"{self.uri}: {describe_no_image(self.ignored)}")

    def items(self) -> Items:
        # A folder that cannot be listed counts as a broken image, and is found before decoding.
        yield from map(self._item, self._unlisted.values())
        for entry in _walk(self.uri, "", frozenset()):
            if is_image_name(entry.name) or (entry.problem and entry.path not in self._unlisted):
                yield self._item(entry)

    def _item(self, entry: _Entry) -> ImageFile:
        name = printable(entry.name)
        load = partial(refuse, entry.problem) if entry.problem else partial(_read_file, entry.path)
        return ImageFile(f"{self.uri}/{name}", label_of(name), entry.num_bytes, load)


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

    def items(self) -> Items:
        for found in self._store.list():
            if is_image_name(found.key):
                name = f"{self.uri.rstrip('/')}/{found.key}"
                label = label_of(found.key.replace("\\", "/"))  # Windows may have uploaded it
                yield ImageFile(name, label, found.num_bytes, partial(self._store.read, found.key))


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        # Python sets aside what is asked for: 512 MiB took a tenth of the time of small images.
        num_bytes = os.fstat(file.fileno()).st_size
        data = file.read(min(num_bytes, MAX_FILE_BYTES) + 1)
        if num_bytes < len(data) <= MAX_FILE_BYTES:  # some network drives do not know the size
            data += file.read(MAX_FILE_BYTES + 1 - len(data))
        return data


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[_Entry]:
    """Yield every regular file below ``folder``, sorted folder by folder.

    Links are followed, but not into a folder that holds them. Hidden and system folders are named
    and not entered: the system's own may not even be listed.
    """
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        problem = (
            f"cannot be listed ({error.strerror}); "
            "expected a folder of images that this user may read"
        )
        if not prefix:
            raise DataError(f"{folder}: {problem}") from None
        yield _Entry(prefix.removesuffix("/"), folder, problem=problem)
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        name = prefix + entry.name
        try:
            found = entry.stat()
        except OSError as error:
            # A link to nowhere is reported by name if it has an image's. Others may be folders.
            may_be_folder = error.errno not in (errno.ENOENT, errno.ELOOP) and not (
                is_hidden(entry.name) or is_image_name(entry.name)
            )
            problem = f"cannot be read ({error.strerror})" if may_be_folder else ""
            yield _Entry(name, entry.path, problem=problem)
            continue
        if stat.S_ISDIR(found.st_mode) and is_hidden(entry.name):
            yield _Entry(name, entry.path)
        elif stat.S_ISDIR(found.st_mode):
            yield from _walk(entry.path, f"{name}/", above | {here})
        elif stat.S_ISREG(found.st_mode):
            yield _Entry(name, entry.path, found.st_size, found.st_mtime_ns)
