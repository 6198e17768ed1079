"""Images in an archive: tar (plain, gzip, bzip2, xz, lzma) or zip. Read in one pass; nothing is ever extracted to disk."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from posixpath import normpath
from typing import NamedTuple, NoReturn

from job.config.errors import DataError
from job.sources.signature import signature_of
from job.sources.source import (
    MAX_FILE_BYTES,
    ImageBlock,
    ImageFile,
    describe_no_image,
    extension_of,
    is_image_name,
    label_of,
)

_READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    ValueError,
)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# Names of the others (APPNOTE.TXT, 4.4.5). Windows takes Deflate64 for what is larger than 2 GB.
_OTHER_ZIP_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    93: "Zstandard",
    95: "XZ",
    96: "JPEG",
    98: "PPMd",
    99: "AES encryption",
}


class _Member(NamedTuple):
    name: str
    num_bytes: int
    load: Callable[[], bytes]


class ArchiveSource:
    """The images of a tar or zip file in the archive's own order; the folder an image is in is its class."""

    class_names = None
    num_images = None

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self.uri = str(path)
        self.kind = kind
        self.num_bytes = path.stat().st_size
        self.signature = signature_of([path])
        self.ignored: Counter[str] = Counter()

    def items(self) -> Iterator[ImageFile | ImageBlock]:
        num_images = 0
        members = self._tar_members() if self.kind == "tar" else self._zip_members()
        for name, num_bytes, load in members:
            num_images += 1
            shown = name.encode("utf-8", "backslashreplace").decode()
            yield ImageFile(f"{self._path}!/{shown}", label_of(shown), num_bytes, load)
        if not num_images:
            raise DataError(f"{self.uri}: {describe_no_image(self.ignored)}")

    def _takes(self, name: str, mode: int = 0) -> bool:
        if is_image_name(name) and not stat.S_ISLNK(
            mode
        ):  # a link's bytes are the path of another file
            return True
        self.ignored["link" if is_image_name(name) else extension_of(name)] += 1
        return False

    def _tar_members(self) -> Iterator[_Member]:
        """Yield the regular files, then the hard links: what those name is found in a second pass, made only if there are any."""
        targets: dict[str, str] = {}  # of each hard link
        links: dict[str, list[str]] = {}  # the images that are links to a file
        for archive, member in self._tar_headers():
            name, path = member.name.removeprefix("./"), normpath(member.name)
            if member.islnk():
                target = normpath(member.linkname)
                targets[path] = targets.get(target, target)
            if member.isdir() or not self._takes(name):
                continue
            if member.islnk():
                links.setdefault(targets[path], []).append(name)
            elif member.isreg():
                yield _Member(name, member.size, partial(bytes, self._read_tar(archive, member)))
            else:
                self.ignored["link"] += 1
        if links:
            for archive, member in self._tar_headers():
                if member.isreg() and (names := links.pop(normpath(member.name), [])):
                    data = self._read_tar(archive, member)
                    yield from (_Member(name, member.size, partial(bytes, data)) for name in names)
            for target, names in links.items():
                yield from (
                    _Member(
                        name,
                        0,
                        partial(_refuse, f"is a hard link to {target!r}, which the archive lacks"),
                    )
                    for name in names
                )

    def _tar_headers(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """Yield each member's header with the archive, from which the member may be read before the next one is asked for."""
        with self._naming_damage("tar"), _decompressed(self._path) as stream:
            watched = _Watched(stream)
            with tarfile.open(fileobj=watched, mode="r|") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it keeps every header it has read: 2 GB for a million images
                    yield archive, member
                watched.check_end(archive.offset)
            while stream.read(
                1 << 20
            ):  # to the end, where a compressed file keeps the checksum of all before
                pass

    def _read_tar(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        with self._naming_damage("tar"):
            file = archive.extractfile(member)
            return file.read(MAX_FILE_BYTES + 1) if file else b""

    def _zip_members(self) -> Iterator[_Member]:
        with self._naming_damage("zip"), zipfile.ZipFile(self._path) as archive:
            # The specification says "/"; programs of Windows have written their own separator.
            names = [(member.filename.replace("\\", "/"), member) for member in archive.infolist()]
            images = [
                (name, member)
                for name, member in names
                if not name.endswith("/") and self._takes(name, member.external_attr >> 16)
            ]
            for name, member in images:
                if member.flag_bits & 1:
                    raise DataError(
                        f"{self._path}!/{name}: is encrypted; expected a zip file without a password"
                    )
                if member.compress_type not in _ZIP_METHODS:
                    method = _OTHER_ZIP_METHODS.get(member.compress_type, "an unknown method")
                    raise DataError(
                        f"{self._path}!/{name}: is compressed with {method} (number {member.compress_type}), which Python cannot read; "
                        "unpack the archive and pack the folder, or zip it again with Deflate"
                    )
            for name, member in images:
                yield _Member(name, member.file_size, _read_member(archive, member))

    @contextmanager
    def _naming_damage(self, kind: str) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise DataError(
                f"{self.uri}: the {kind} archive is damaged or cut short ({error}); expected a whole archive: copy or download it again"
            ) from None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    """What returns the member's bytes, or raises ``DataError``: in a zip each member has a checksum, and one that is damaged harms no other."""
    try:
        with archive.open(member) as file:
            return partial(bytes, file.read(MAX_FILE_BYTES + 1))
    except _READ_ERRORS as error:
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # the disk, not the archive's content
            raise
        return partial(
            _refuse,
            f"is damaged ({error}); expected a whole zip archive: copy or download it again",
        )


def _refuse(reason: str) -> NoReturn:
    raise DataError(reason)


class _Watched(io.BufferedIOBase):
    """A readable stream that remembers its last bytes: tarfile ends quietly at a damaged or missing header, as if the archive ended there."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._end = 0
        self._tail = b""

    def read(self, num_bytes: int | None = -1, /) -> bytes:
        data = self._stream.read(num_bytes)
        self._end += len(data)
        self._tail = (self._tail + data)[-4 * tarfile.RECORDSIZE :]
        return data

    def check_end(self, offset: int) -> None:
        """Raise unless the block at ``offset``, where tarfile stopped, is the archive's own end: 512 zero bytes."""
        start = offset - (self._end - len(self._tail))
        block = self._tail[max(start, 0) :][: tarfile.BLOCKSIZE]
        if len(block) < tarfile.BLOCKSIZE or any(block):
            raise tarfile.ReadError(f"no file header and no end mark at byte {offset:,}")


def _decompressed(path: Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if head.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if head == b"\xfd7zXZ\x00" or head.startswith(b"]\0\0"):  # xz, or the older .lzma
        return lzma.open(path, "rb")
    return open(path, "rb")
