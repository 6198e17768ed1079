"""Images as an IDX file, the format of MNIST and Fashion-MNIST, plain or gzip.

Layout: bytes 0, 0, a type (8 is uint8), the number of dimensions, then each dimension as a
big-endian uint32, then the values (LeCun, Cortes, Burges).
"""

import gzip
import re
import struct
from collections import Counter
from pathlib import Path

from job.config.errors import ConfigError, DataError
from job.sources.row_stream import (
    READ_ERRORS,
    Readable,
    as_image_shape,
    check_num_bytes,
    open_maybe_gzip,
    read_blocks,
)
from job.sources.source import ImageBlock, Items, rows_per_block, signature_of

IDX_MAGIC = b"\0\0\x08"
# Also EMNIST's: emnist-letters-train-images-idx3-ubyte.gz
_IMAGES_NAME = re.compile(
    r"(?P<set>([^.].*-)?)(?P<split>train|t10k|test)-images[-.]idx[34]-ubyte(\.gz)?"
)
_MAX_UNNAMED = 4  # files of a folder that are opened to find IDX files under other names


class IdxSource:
    """An IDX file of images ``[N, H, W]`` or ``[N, H, W, C]``, and the labels file beside it."""

    def __init__(self, path: Path, labels: Path | None = None) -> None:
        self.uri = str(path)
        self.kind = "idx"
        self.class_names: tuple[str, ...] | None = None
        self.ignored: Counter[str] = Counter()
        self._path, self._labels_path = path, labels or _labels_beside(path)
        self._shape = as_image_shape(_shape_of(path), str(path))
        _check_size(path, self._shape)
        self.num_images = self._shape[0]
        files = [file for file in (path, self._labels_path) if file]
        self.num_bytes: int | None = sum(file.stat().st_size for file in files)
        self.signature: str | None = signature_of(files)
        if self._labels_path:
            shape = _shape_of(self._labels_path)
            if shape != (self.num_images,):
                raise DataError(
                    f"{self._labels_path}: labels of shape {list(shape)}; "
                    f"expected [{self.num_images}], one for each image of {path.name}"
                )
            _check_size(self._labels_path, shape)

    def items(self) -> Items:
        with open_maybe_gzip(self._path) as file:
            _read_shape(file, self._path)
            blocks = read_blocks(file, self.uri, self._shape)
            if self._labels_path is None:
                yield from (ImageBlock(images, None) for images in blocks)
                return
            _, height, width, channels = self._shape
            num_rows = rows_per_block(height * width * channels)
            with open_maybe_gzip(self._labels_path) as labels_file:
                _read_shape(labels_file, self._labels_path)
                label_blocks = read_blocks(
                    labels_file, str(self._labels_path), self._shape[:1], num_rows
                )
                for images, labels in zip(blocks, label_blocks, strict=True):
                    yield ImageBlock(images, labels)


def find_idx(folder: Path, split: str) -> IdxSource | None:
    """Return the IDX images of ``split`` ("train" or "test") in ``folder``; None if it has none.

    They have MNIST's or EMNIST's names, or are a single file known by its content. ``ConfigError``
    if the folder has only the other split, or several sets.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if (match := _IMAGES_NAME.fullmatch(path.name)) and path.is_file():
            found.setdefault(match["set"], {})[match["split"]] = path
    if not found:
        return _find_by_content(folder)
    if len(found) > 1 and "" not in found:
        names = ", ".join(name.rstrip("-") for name in found)
        raise ConfigError(f"{folder}: holds IDX images of {names}; expected one set: name its file")
    splits = found.get("") or next(iter(found.values()))
    images = splits.get("train") if split == "train" else splits.get("t10k", splits.get("test"))
    if images is None:
        names = ", ".join(path.name for path in splits.values())
        raise ConfigError(f"{folder}: holds no IDX images of --split {split}; found {names}")
    return IdxSource(images)


def _find_by_content(folder: Path) -> IdxSource | None:
    files = [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.is_file()]
    if not 0 < len(files) <= _MAX_UNNAMED:
        return None
    images: list[Path] = []
    labels: list[Path] = []
    for path in files:
        if is_idx(path):
            (labels if len(_shape_of(path)) == 1 else images).append(path)
    if len(images) != 1:
        return None
    return IdxSource(images[0], labels[0] if len(labels) == 1 else None)


def is_idx(path: Path) -> bool:
    """Return whether the file begins as an IDX file of uint8 values."""
    try:
        with open_maybe_gzip(path) as file:
            return file.read(3) == IDX_MAGIC
    except READ_ERRORS:
        return False


def _labels_beside(images: Path) -> Path | None:
    name = re.sub(r"images([-.])idx[34]", r"labels\1idx1", images.name)
    if name == images.name:
        return None
    plain = images.with_name(name.removesuffix(".gz"))
    candidates = (plain, plain.with_name(f"{plain.name}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _shape_of(path: Path) -> tuple[int, ...]:
    with open_maybe_gzip(path) as file:
        return _read_shape(file, path)


def _check_size(path: Path, shape: tuple[int, ...]) -> None:
    """Check the size of a plain file; that of a compressed one is known once it has been read."""
    with open_maybe_gzip(path) as file:
        if not isinstance(file, gzip.GzipFile):
            header_bytes = 4 + 4 * len(_read_shape(file, path))
            check_num_bytes(str(path), shape, path.stat().st_size - header_bytes)


def _read_shape(file: Readable, path: Path) -> tuple[int, ...]:
    """Read the header, leaving ``file`` at the first value."""
    try:
        head = file.read(4)
        if len(head) < 4 or head[:3] != IDX_MAGIC:
            raise DataError(
                f"{path}: begins with {head!r}; expected an IDX file of uint8 values "
                "(bytes 0, 0, 8, number of dimensions)"
            )
        return struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
    except (*READ_ERRORS, struct.error) as error:
        raise DataError(
            f"{path}: the IDX header is damaged or cut short ({error}): copy or download it again"
        ) from None
