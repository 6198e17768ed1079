"""Images in an archive: tar (plain, gzip, bzip2, xz, lzma) or zip. Nothing is extracted to disk."""

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
from typing import Literal, Self

from job.config.errors import DataError
from job.sources.formats import describe_no_image, extension_of, is_image_name, label_of
from job.sources.source import (
    MAX_FILE_BYTES,
    ImageFile,
    Items,
    printable,
    refuse,
    signature_of,
)

_READ_ERRORS = (
    tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError,
    NotImplementedError, ValueError,
)  # fmt: skip
_TarMode = Literal["r:", "r:gz", "r:bz2", "r:xz"]
_TAR_MODES: dict[bytes, _TarMode] = {
    b"\x1f\x8b": "r:gz",
    b"BZh": "r:bz2",
    b"\xfd7zXZ\0": "r:xz",
    b"]\0\0": "r:xz",  # .lzma
}
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# Names of the others (APPNOTE.TXT, 4.4.5). Windows uses Deflate64 above 2 GB.
_OTHER_ZIP_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd",
    99: "AES encryption",
}  # fmt: skip


class ArchiveSource:
    """The images of a tar or zip file in the archive's order; an image's folder is its class."""

    class_names = None
    num_images = None

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self.uri = str(path)
        self.kind = kind
        self.num_bytes = path.stat().st_size
        self.signature = signature_of([path])
        self.ignored: Counter[str] = Counter()

    def items(self) -> Items:
        is_empty = True
        for image in self._tar_images() if self.kind == "tar" else self._zip_images():
            is_empty = False
            yield image
        if is_empty:
            raise DataError(f"{self.uri}: {describe_no_image(self.ignored)}")

    def _image(self, name: str, num_bytes: int, load: Callable[[], bytes]) -> ImageFile:
        shown = printable(name)
        return ImageFile(f"{self._path}!/{shown}", label_of(shown), num_bytes, load)

    def _accepts(self, name: str, mode: int = 0) -> bool:
        """Return whether a member is an image; count it if not. A link holds another's path."""
        if is_image_name(name) and not stat.S_ISLNK(mode):
            return True
        self.ignored["link" if is_image_name(name) else extension_of(name)] += 1
        return False

    def _tar_images(self) -> Iterator[ImageFile]:
        """Yield the regular files, then the hard links, whose files a second pass reads."""
        targets: dict[str, str] = {}  # of each hard link
        links: dict[str, list[str]] = {}  # of each target, the images that link to it
        for archive, member in self._tar_members():
            name, path = member.name.removeprefix("./"), normpath(member.name)
            if member.islnk():
                target = normpath(member.linkname)
                targets[path] = targets.get(target, target)
            if member.isdir() or not self._accepts(name):
                continue
            if member.islnk():
                links.setdefault(targets[path], []).append(name)
            elif member.isreg():
                data = self._read_tar(archive, member)
                yield self._image(name, member.size, partial(bytes, data))
            else:
                self.ignored["link"] += 1
        if links:
            for archive, member in self._tar_members():
                if member.isreg() and (names := links.pop(normpath(member.name), [])):
                    data = self._read_tar(archive, member)
                    for name in names:
                        yield self._image(name, member.size, partial(bytes, data))
        for target, names in links.items():
            reason = f"is a hard link to {target!r}, which the archive lacks"
            for name in names:
                yield self._image(name, 0, partial(refuse, reason))

    def _tar_members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """Yield each member with the archive, which reads it before the next one is asked for."""
        with open(self._path, "rb") as file:
            head = file.read(6)
        modes = (mode for magic, mode in _TAR_MODES.items() if head.startswith(magic))
        mode: _TarMode = next(modes, "r:")
        with self._naming_damage(), tarfile.open(self._path, mode, tarinfo=_Header) as archive:
            while (member := archive.next()) is not None:
                # tarfile keeps every header: 2 GB for a million images.
                archive.members.clear()  # type: ignore[attr-defined]
                yield archive, member
            while archive.fileobj.read(1 << 20):  # up to the checksum of a compressed file
                pass

    def _read_tar(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        with self._naming_damage():
            file = archive.extractfile(member)
            return file.read(min(member.size, MAX_FILE_BYTES) + 1) if file else b""

    def _zip_images(self) -> Iterator[ImageFile]:
        with self._naming_damage(), zipfile.ZipFile(self._path) as archive:
            # The specification says "/"; programs of Windows have written their own separator.
            names = [(member.filename.replace("\\", "/"), member) for member in archive.infolist()]
            images = [
                (name, member)
                for name, member in names
                if not name.endswith("/") and self._accepts(name, member.external_attr >> 16)
            ]
            for name, member in images:
                _check_readable(f"{self._path}!/{name}", member)
            for name, member in images:
                yield self._image(name, member.file_size, _read_zip(archive, member))

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise DataError(
                f"{self.uri}: the {self.kind} archive is damaged or cut short ({error}); "
                "expected a whole archive: copy or download it again"
            ) from None


class _Header(tarfile.TarInfo):
    """A tar header that must be valid: at a damaged one tarfile ends as if the archive did."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the archive's end mark
            raise
        except tarfile.HeaderError as error:
            reason = f"no file header and no end mark at byte {archive.offset:,}: {error}"
            raise tarfile.ReadError(reason) from None


def _check_readable(where: str, member: zipfile.ZipInfo) -> None:
    if member.flag_bits & 1:
        raise DataError(f"{where}: is encrypted; expected a zip file without a password")
    if (number := member.compress_type) not in _ZIP_METHODS:
        method = _OTHER_ZIP_METHODS.get(number, "an unknown method")
        raise DataError(
            f"{where}: is compressed with {method} (number {number}), which Python cannot read; "
            "unpack the archive and pack the folder, or zip it again with Deflate"
        )


def _read_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    """Return a function for the member's bytes, or for a ``DataError`` if it alone is damaged."""
    try:
        with archive.open(member) as file:
            return partial(bytes, file.read(MAX_FILE_BYTES + 1))
    except _READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the content
            raise
        expected = "expected a whole zip archive: copy or download it again"
        return partial(refuse, f"is damaged ({error}); {expected}")
