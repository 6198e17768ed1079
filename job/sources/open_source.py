"""Which reader a source's URI asks for: ``keras:NAME``, ``synthetic:garments[:N]``, ``s3://bucket/prefix``, a folder or a file."""

import re
import tarfile
import zipfile
from pathlib import Path

from numpy.lib import format as npy

from job.config.errors import ConfigError, DataError
from job.config.storage import StorageSpec
from job.sources.archive import ArchiveSource
from job.sources.files import FolderSource, StoreSource
from job.sources.formats import FORMAT_NAMES, SAVE_TABLES, SUFFIXES, TABLE_SUFFIXES
from job.sources.garment_set import GarmentSource
from job.sources.idx import IdxSource, find_idx, is_idx
from job.sources.keras_datasets import open_keras
from job.sources.numpy_arrays import NumpySource
from job.sources.source import Source
from job.storage.paths import local_path
from job.storage.uri import open_store

_ACCEPTED = (
    f"a folder, tar or zip of {FORMAT_NAMES} images, an IDX file or a folder of them, .npy, .npz, s3://bucket/prefix, "
    "keras:fashion_mnist (mnist, cifar10, cifar100) or synthetic:garments[:N]"
)
_GARMENTS = re.compile(r"synthetic:garments(?::(\d+))?")
_DEFAULT_GARMENTS = 20_000
_OTHER_ARCHIVES = {
    b"7z\xbc\xaf": "7z",
    b"Rar!": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
}


def open_source(
    uri: str, storage: StorageSpec | None = None, split: str | None = None, seed: int = 0
) -> Source:
    """The images at ``uri``. ``split`` (default train) is for IDX folders, .npz files and Keras's data sets, ``seed`` for synthetic images.

    ``DataError`` where there are no images, ``ConfigError`` for a URI or option that makes no sense, ``StorageError`` from an object store.
    """
    source = _open(uri, storage, split or "train", seed)
    if split == "test" and source.kind not in (
        "idx",
        "npz",
        "keras",
    ):  # all there is counts as images to train on
        raise ConfigError(
            f"--split test does not apply to {uri}; expected a folder of IDX files, an .npz file or keras:NAME"
        )
    return source


def canonical_uri(uri: str) -> str:
    """``uri`` as the index keeps it: paths absolute, so that the same source is known again from another folder.

    ``ConfigError`` for a URI that is empty or of a file without an absolute path: an unset shell variable would mean the current folder.
    """
    if not uri.strip():
        raise ConfigError(f"SOURCE is empty; expected {_ACCEPTED} (is a shell variable unset?)")
    if uri.startswith(("keras:", "synthetic:")) or ("://" in uri and not uri.startswith("file://")):
        return uri
    return str(local_path(uri).resolve())


def _open(uri: str, storage: StorageSpec | None, split: str, seed: int) -> Source:
    if uri.startswith("keras:"):
        return open_keras(uri.removeprefix("keras:"), split)
    if uri.startswith("synthetic:"):
        if not (match := _GARMENTS.fullmatch(uri)) or match[1] == "0":
            raise ConfigError(
                f"{uri}: unknown synthetic images; expected synthetic:garments or synthetic:garments:N with N images"
            )
        return GarmentSource(int(match[1] or _DEFAULT_GARMENTS), seed)
    if "://" in uri and not uri.startswith("file://"):
        return StoreSource(open_store(uri, storage))
    path = Path(canonical_uri(uri))
    try:
        if path.is_dir():
            return find_idx(path, split) or FolderSource(path)
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; expected {_ACCEPTED}")
        if not path.is_file():  # a pipe would be waited for, a device read for ever
            raise DataError(f"{path}: is a pipe, a socket or a device; expected {_ACCEPTED}")
        return _open_file(path, split)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); expected a file or folder that this user may read"
        ) from None


def _open_file(path: Path, split: str) -> Source:
    """By content where the format marks itself, so that a wrong or missing extension does no harm."""
    with open(path, "rb") as file:
        head = file.read(12)
    for magic, kind in _OTHER_ARCHIVES.items():
        if head.startswith(magic):
            raise DataError(
                f"{path}: is a {kind} archive, which is not read; unpack it and pack the folder, or make a .tar.gz or .zip of it"
            )
    if head.startswith(npy.MAGIC_PREFIX):
        return NumpySource(path, split, "npy")
    if path.suffix.lower() in (".npy", ".npz"):
        return NumpySource(path, split)
    if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        return ArchiveSource(path, "zip")
    if is_idx(path):
        return IdxSource(path)
    if re.search(
        r"\.(tar(\.(gz|bz2|xz|lzma))?|tgz|tbz2?|txz|tlz)$", path.name.lower()
    ) or tarfile.is_tarfile(path):
        return ArchiveSource(path, "tar")
    if path.suffix.lower() in SUFFIXES:
        raise DataError(f"{path}: is one image; expected many: give the folder it is in")
    if path.suffix.lower() in TABLE_SUFFIXES:
        raise DataError(f"{path}: {SAVE_TABLES}")
    raise DataError(
        f"{path}: a file of unknown kind ({'empty' if not head else f'it begins with {head!r}'}); expected {_ACCEPTED}"
    )
