"""Open a source by its URI: a path, ``s3://``, ``keras:NAME`` or ``synthetic:garments[:N]``."""

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
from job.sources.garments import GarmentSource
from job.sources.idx import IdxSource, find_idx, is_idx
from job.sources.keras_datasets import open_keras
from job.sources.numpy_arrays import NumpySource
from job.sources.source import Source
from job.storage.paths import local_path
from job.storage.uri import open_store

_ACCEPTED = (
    f"a folder, tar or zip of {FORMAT_NAMES} images, an IDX file or a folder of them, .npy, .npz, "
    "s3://bucket/prefix, keras:fashion_mnist (mnist, cifar10, cifar100) or synthetic:garments[:N]"
)
_GARMENTS = re.compile(r"synthetic:garments(?::(\d+))?")
_DEFAULT_GARMENTS = 20_000
_TAR_NAME = re.compile(r"\.(tar(\.(gz|bz2|xz|lzma))?|tgz|tbz2?|txz|tlz)$")
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
    """Return the images at ``uri``.

    ``split`` (default train) is for IDX folders, .npz files and Keras's data sets, ``seed`` for
    synthetic images. ``DataError`` if there are no images, ``ConfigError`` for a wrong URI or
    option, ``StorageError`` from an object store.
    """
    source = _open(uri, storage, split or "train", seed)
    # In sources without splits, all images are to train on.
    if split == "test" and source.kind not in ("idx", "npz", "keras"):
        raise ConfigError(
            f"--split test does not apply to {uri}; "
            "expected a folder of IDX files, an .npz file or keras:NAME"
        )
    return source


def canonical_uri(uri: str) -> str:
    """Return ``uri`` as the index keeps it: with an absolute path, the same from any folder.

    ``ConfigError`` if it is empty, as from an unset shell variable (it would mean the current
    folder), or ``file://`` without an absolute path.
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
                f"{uri}: unknown synthetic images; "
                "expected synthetic:garments or synthetic:garments:N with N images"
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
        if not path.is_file():  # a pipe may never be written to, a device never ends
            raise DataError(f"{path}: is a pipe, a socket or a device; expected {_ACCEPTED}")
        return _open_file(path, split)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "expected a file or folder that this user may read"
        ) from None


def _open_file(path: Path, split: str) -> Source:
    """Open a file by its content if the format marks itself, else by its extension."""
    with open(path, "rb") as file:
        head = file.read(12)
    suffix = path.suffix.lower()
    for magic, kind in _OTHER_ARCHIVES.items():
        if head.startswith(magic):
            raise DataError(
                f"{path}: is a {kind} archive, which is not read; "
                "unpack it and pack the folder, or make a .tar.gz or .zip of it"
            )
    if head.startswith(npy.MAGIC_PREFIX):
        return NumpySource(path, split, "npy")
    if suffix in (".npy", ".npz"):
        return NumpySource(path, split)
    if suffix == ".zip" or zipfile.is_zipfile(path):
        return ArchiveSource(path, "zip")
    if is_idx(path):
        return IdxSource(path)
    if _TAR_NAME.search(path.name.lower()) or tarfile.is_tarfile(path):
        return ArchiveSource(path, "tar")
    if suffix in SUFFIXES:
        raise DataError(f"{path}: is one image; expected many: give the folder it is in")
    if suffix in TABLE_SUFFIXES:
        raise DataError(f"{path}: {SAVE_TABLES}")
    found = f"it begins with {head!r}" if head else "empty"
    raise DataError(f"{path}: a file of unknown kind ({found}); expected {_ACCEPTED}")
