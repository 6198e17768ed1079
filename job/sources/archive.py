"""Images in an archive: tar (plain, gzip, bzip2, xz) or zip. Read in one pass; nothing is ever extracted to disk."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from job.config.errors import DataError
from job.sources.signature import signature_of
from job.sources.source import MAX_FILE_BYTES, ImageBlock, ImageFile, describe_no_image, extension_of, is_image_name, label_of

_READ_ERRORS = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, ValueError)


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

    def _takes(self, name: str) -> bool:
        if is_image_name(name):
            return True
        self.ignored[extension_of(name)] += 1
        return False

    def _tar_members(self) -> Iterator[_Member]:
        try:
            with _decompressed(self._path) as stream:
                watched = _Watched(stream)
                with tarfile.open(fileobj=watched, mode="r|") as archive:
                    while (member := archive.next()) is not None:
                        archive.members.clear()  # type: ignore[attr-defined]  # it keeps every header it has read: 2 GB for a million images
                        if member.isdir() or not self._takes(member.name):
                            continue
                        file = archive.extractfile(member) if member.isreg() else None
                        if file is None:
                            self.ignored["link"] += 1
                        else:
                            data = file.read(MAX_FILE_BYTES + 1)
                            yield _Member(member.name.removeprefix("./"), member.size, partial(bytes, data))
                    watched.check_end(archive.offset)
                while stream.read(1 << 20):  # to the end, where a compressed file keeps the checksum of all before
                    pass
        except _READ_ERRORS as error:
            raise self._damaged("tar", error) from None

    def _zip_members(self) -> Iterator[_Member]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                for member in archive.infolist():
                    if member.is_dir() or not self._takes(member.filename):
                        continue
                    if member.flag_bits & 1:
                        raise DataError(f"{self._path}!/{member.filename}: is encrypted; expected a zip file without a password")
                    yield _Member(member.filename, member.file_size, _read_member(archive, member))
        except _READ_ERRORS as error:
            raise self._damaged("zip", error) from None

    def _damaged(self, kind: str, error: Exception) -> DataError:
        return DataError(
            f"{self.uri}: the {kind} archive is damaged or cut short ({error}); expected a whole archive: copy or download it again"
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    """What returns the member's bytes, or raises ``DataError``: in a zip each member has a checksum, and one that is damaged harms no other."""
    try:
        with archive.open(member) as file:
            return partial(bytes, file.read(MAX_FILE_BYTES + 1))
    except _READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive's content
            raise
        return partial(_refuse, f"is damaged ({error}); expected a whole zip archive: copy or download it again")


def _refuse(reason: str) -> bytes:
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
    if head == b"\xfd7zXZ\x00":
        return lzma.open(path, "rb")
    return open(path, "rb")
