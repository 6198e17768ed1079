"""Images as NumPy arrays: an ``.npy`` file, an ``.npz`` file or arrays in memory. No pickles."""

import math
import tokenize
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from job.config.errors import DataError
from job.sources.row_stream import READ_ERRORS, as_image_shape, check_num_bytes, read_blocks
from job.sources.source import ImageBlock, Items, rows_per_block, signature_of

_KEYS = {  # of the images and of the labels in an .npz file
    "train": (
        ("x_train", "train_images", "images", "x", "data", "arr_0", "image", "imgs"),
        ("y_train", "train_labels", "labels", "y", "targets", "arr_1", "label", "target"),
    ),
    "test": (("x_test", "test_images"), ("y_test", "test_labels")),
}
_HEADER_ERRORS = (
    *READ_ERRORS, ValueError, SyntaxError, MemoryError, RuntimeError, tokenize.TokenError,
    zipfile.BadZipFile,
)  # fmt: skip


class ArraySource:
    """Images in memory, uint8 ``[N, H, W]`` or ``[N, H, W, C]``; labels ``[N]`` or ``[N, 1]``."""

    num_bytes = None
    signature = None

    def __init__(
        self,
        uri: str,
        kind: str,
        images: NDArray[np.uint8],
        labels: NDArray[Any] | None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.uri = uri
        self.kind = kind
        self.class_names = class_names
        self.ignored: Counter[str] = Counter()
        self._images = images.reshape(as_image_shape(images.shape, uri))
        if labels is not None:
            _check_labels(labels.shape, labels.dtype, len(images), uri)
        self._labels = None if labels is None else labels.reshape(-1)
        self.num_images = len(images)

    def items(self) -> Items:
        step = rows_per_block(self._images[0].nbytes)
        for start in range(0, self.num_images, step):
            labels = None if self._labels is None else self._labels[start : start + step]
            yield ImageBlock(self._images[start : start + step], labels)


class NumpySource:
    """The images of an ``.npy`` file, or those of an ``.npz`` file under a usual name.

    An ``.npz`` file may also hold their labels.
    """

    class_names = None

    def __init__(self, path: Path, split: str, kind: str = "") -> None:
        self.uri = str(path)
        self.kind = kind or path.suffix.lower().removeprefix(".")
        self.ignored: Counter[str] = Counter()
        self.num_bytes = path.stat().st_size
        self.signature = signature_of([path])
        self._path = path
        self._member: str | None = None
        self._labels: NDArray[Any] | None = None
        try:
            label_key = self._find_arrays(split) if self.kind == "npz" else None
            with self._open(self._member) as file:
                shape = _read_header(file, self.uri)
                self._shape = as_image_shape(shape, self.uri)
                _check_not_one_image(shape, self.uri)
                check_num_bytes(self.uri, self._shape, self._array_bytes() - file.tell())
            if label_key is not None:
                with self._open(f"{label_key}.npy") as file:
                    labels_shape, _, dtype = _read_any_header(file)
                # Before memory is set aside.
                _check_labels(labels_shape, dtype, self._shape[0], self.uri)
                with np.load(path, allow_pickle=False) as arrays:
                    self._labels = arrays[label_key].reshape(-1)
        except _HEADER_ERRORS as error:
            raise DataError(
                f"{path}: cannot be read as NumPy arrays ({error}); "
                "expected uint8 images, saved without pickled objects"
            ) from None
        self.num_images = self._shape[0]

    def items(self) -> Items:
        start = 0
        try:
            with self._open(self._member) as file:
                _read_header(file, self.uri)
                for images in read_blocks(file, self.uri, self._shape):
                    stop = start + len(images)
                    labels = None if self._labels is None else self._labels[start:stop]
                    yield ImageBlock(images, labels)
                    start = stop
        except zipfile.BadZipFile as error:
            raise DataError(
                f"{self.uri}: is damaged ({error}): copy or download it again"
            ) from None

    def _find_arrays(self, split: str) -> str | None:
        """Set the member of the images; return the name of their labels, None if absent."""
        with zipfile.ZipFile(self._path) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
        image_keys, label_keys = _KEYS[split]
        image_key = _find_key(found, image_keys)
        if image_key is None and split == "train" and len(found) == 1:
            image_key = found[0]
        if image_key is None:
            raise DataError(
                f"{self.uri}: holds the arrays {', '.join(found) or '(none)'}; "
                f"expected images named {', '.join(image_keys)}"
            )
        self._member = f"{image_key}.npy"
        return _find_key(found, label_keys)

    def _array_bytes(self) -> int:
        """Return the size of the images' array, header included."""
        if self._member is None:
            return self.num_bytes
        with zipfile.ZipFile(self._path) as archive:
            return archive.getinfo(self._member).file_size

    def _open(self, member: str | None) -> IO[bytes]:
        if member is None:
            return open(self._path, "rb")
        with zipfile.ZipFile(self._path) as archive:  # an open member keeps the file open
            return archive.open(member)


def _find_key(found: list[str], keys: tuple[str, ...]) -> str | None:
    """Return the first of ``keys`` that is ``found``, as it is written or else in any case."""
    in_any_case = {name.lower(): name for name in found}
    exact = (key for key in keys if key in found)
    return next(exact, None) or next((in_any_case[key] for key in keys if key in in_any_case), None)


def _read_header(file: IO[bytes], where: str) -> tuple[int, ...]:
    """Return the shape of the array that follows; ``DataError`` unless uint8 in C order."""
    shape, is_fortran, dtype = _read_any_header(file)
    if dtype != np.uint8:
        raise DataError(
            f"{where}: an array of {dtype}, shape {list(shape)}; "
            "expected uint8 (scale to 0..255, then array.astype('uint8'))"
        )
    if is_fortran and len(shape) > 1:
        raise DataError(
            f"{where}: saved in Fortran order; expected C order (save np.ascontiguousarray(array))"
        )
    return shape


def _read_any_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran order, and type of the array that follows in ``file``."""
    is_first_version = npy.read_magic(file) == (1, 0)
    read = npy.read_array_header_1_0 if is_first_version else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    return tuple(shape), is_fortran, dtype


def _check_not_one_image(shape: tuple[int, ...], where: str) -> None:
    """Raise ``DataError`` for the shape of one colour image: it is also that of many grey ones."""
    if len(shape) == 3 and (shape[2] in (3, 4) or shape[0] in (3, 4)):
        raise DataError(
            f"{where}: values of shape {list(shape)}, which may be one colour image; "
            "expected images [N, H, W] or [N, H, W, 1 or 3]: stack colour images with "
            "np.stack(images), or save grey ones as array[..., None]"
        )


def _check_labels(
    shape: tuple[int, ...], dtype: np.dtype[Any], num_images: int, where: str
) -> None:
    if not np.issubdtype(dtype, np.integer) or math.prod(shape) != num_images:
        raise DataError(
            f"{where}: labels of {dtype} and shape {list(shape)}; "
            f"expected {num_images} whole numbers, one an image"
        )
