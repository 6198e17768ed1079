"""One image: from a file's bytes to uint8 pixels ``[H, W, C]`` of the wanted size.

What a viewer would show is packed: EXIF orientation is applied, and ``flatten`` makes any mode grey
or RGB. Of several frames or pages the first is read. Colour profiles are ignored.
"""

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from job.config.errors import DataError
from job.sources.flatten import as_mode, load_flat
from job.sources.formats import FORMAT_NAMES, FORMATS, describe_unknown

FITS = ("crop", "pad", "stretch", "exact")
# All that Pillow's decoders raise on damaged files, seen by flipping bytes (test_image.py).
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, ArithmeticError,
    RuntimeError, struct.error, zlib.error,
)  # fmt: skip
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The entry of the EXIF block in an AVIF file's list of items.
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)
_MAX_TAG_VALUES = 1 << 18  # strips or tiles of one TIFF image
_BYTE_TYPES = (1, 2, 6, 7)  # of TIFF tags that may be large: EXIF, XMP, colour profiles
# Pillow only warns between its limit and twice that; `_open` refuses all above the limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Many cameras write EXIF that breaks the rules; the image is whole all the same.
warnings.filterwarnings(
    "ignore", category=UserWarning, module=r"PIL\.(Tiff|Jpeg|Gif|Png)ImagePlugin"
)
# Pillow refuses a PNG with a colour profile or text above 1 MiB; the pixels are whole.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20


@dataclass(frozen=True)
class ImagePolicy:
    """The size and channels that every image gets.

    ``size`` is (height, width), None to keep its own. ``channels`` None makes RGB and notes
    images that were grey.
    """

    size: tuple[int, int] | None
    channels: int | None
    fit: str = "crop"


class Pixels(NamedTuple):
    """A decoded image: uint8 ``[H, W, C]``, and whether the file held no colour."""

    pixels: NDArray[np.uint8]
    is_grey: bool


def decode_image(data: bytes, policy: ImagePolicy) -> Pixels:
    """Decode and fit one file; ``DataError``, without its name, if it is not a whole image."""
    try:
        image = _open(data)
        if policy.size is not None and policy.fit != "exact":
            # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the target leaves
            # the final resampling its quality.
            image.draft(None, (2 * max(policy.size), 2 * max(policy.size)))
        flat = load_flat(image, data)
    except UnidentifiedImageError:
        raise DataError(describe_unknown(data)) from None
    except _DECODE_ERRORS as error:
        raise DataError(f"is damaged ({error}); expected a whole {FORMAT_NAMES} image") from None
    if (orientation := _orientation(image)) is not None:
        flat = flat.transpose(orientation)
    is_grey = flat.mode == "L"
    flat = as_mode(flat, "L" if policy.channels == 1 else "RGB")
    return Pixels(_as_array(fit_image(flat, policy)), is_grey)


def fit_pixels(pixels: NDArray[np.uint8], policy: ImagePolicy) -> NDArray[np.uint8]:
    """Fit raw pixels ``[H, W, 1 or 3]`` to the policy; ``DataError`` if ``exact`` refuses them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if policy.channels is not None:
        image = as_mode(image, "L" if policy.channels == 1 else "RGB")
    return _as_array(fit_image(image, policy))


def fit_image(image: Image.Image, policy: ImagePolicy) -> Image.Image:
    """Crop, pad with black or stretch ``image`` to the policy's size; ``DataError`` if refused.

    Not ``ImageOps.fit`` and ``pad``: they give other pixels than those of earlier packed data.
    """
    if policy.size is None or (image.height, image.width) == policy.size:
        return image
    height, width = policy.size
    if policy.fit == "exact":
        raise DataError(
            f"is {image.height}x{image.width}; "
            f"expected exactly {height}x{width} (another --fit resizes it)"
        )
    whole = (0.0, 0.0, image.width, image.height)
    if policy.fit == "stretch":
        return _resize(image, height, width, whole)
    if policy.fit == "pad":
        scale = min(height / image.height, width / image.width)
        inner_height = max(1, round(image.height * scale))
        inner_width = max(1, round(image.width * scale))
        padded = Image.new(image.mode, (width, height))
        inner = _resize(image, inner_height, inner_width, whole)
        padded.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
        return padded
    # Crop: the largest centred box of the target's shape.
    scale = min(image.height / height, image.width / width)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    right, bottom = min(left + width * scale, image.width), min(top + height * scale, image.height)
    return _resize(image, height, width, (max(left, 0.0), max(top, 0.0), right, bottom))


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise DataError(f"is empty (0 bytes); expected a {FORMAT_NAMES} image")
    _check_tiff_tags(data)
    try:
        image = _open_with_any_exif(data)
    except Image.DecompressionBombError as error:  # from twice the limit on
        raise _bomb(str(error)) from None
    for part, num_pixels in (("Image", image.width * image.height), ("Tile", _tile_pixels(image))):
        if Image.MAX_IMAGE_PIXELS is not None and num_pixels > Image.MAX_IMAGE_PIXELS:
            raise _bomb(f"{part} size ({num_pixels} pixels)")
    return image


def _open_with_any_exif(data: bytes) -> ImageFile.ImageFile:
    """Open an image; an AVIF image without its EXIF block if libavif refuses that."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except _DECODE_ERRORS:
        without_exif = _AVIF_EXIF.sub(rb"\1none", data) if data[4:8] == b"ftyp" else data
        if without_exif == data:
            raise
        return Image.open(io.BytesIO(without_exif), formats=FORMATS)


def _bomb(found: str) -> DataError:
    return DataError(
        f"is a decompression bomb? {found}; "
        f"expected at most {Image.MAX_IMAGE_PIXELS:,} pixels: shrink or remove it"
    )


def _check_tiff_tags(data: bytes) -> None:
    """Raise ``DataError`` if a tag of a TIFF's first image has too many values.

    Before Pillow sets memory aside: it keeps each value of a tag as a Python object.
    """
    if data[:2] not in (b"II", b"MM"):
        return
    order, is_big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start, count, entry = (
        order + part for part in (("Q", "Q", "HHQ8x") if is_big else ("I", "H", "HHI4x"))
    )
    try:
        (place,) = struct.unpack_from(start, data, 8 if is_big else 4)
        (num_tags,) = struct.unpack_from(count, data, place)
        place += struct.calcsize(count)
        for _ in range(min(num_tags, 1 << 16)):
            tag, kind, num_values = struct.unpack_from(entry, data, place)
            if num_values > _MAX_TAG_VALUES and kind not in _BYTE_TYPES:
                raise DataError(
                    f"is a TIFF image whose tag {tag} has {num_values:,} values; "
                    f"expected at most {_MAX_TAG_VALUES:,}"
                )
            place += struct.calcsize(entry)
    except (struct.error, OverflowError):  # cut short: Pillow reports it
        pass


def _tile_pixels(image: Image.Image) -> int:
    """Return the pixels of one tile, which libtiff decodes whole; 0 for an image without tiles."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    width = image.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0)
    height = image.tag_v2.get(TiffImagePlugin.TILELENGTH, 0)
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """Return how to turn a decoded image upright; None if it is, or if its EXIF is not valid.

    Called after decoding: a damaged PNG decodes without an error once its metadata was read.
    """
    try:
        return _ORIENTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODE_ERRORS:
        return None


def _resize(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float]
) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS, box, reducing_gap=3.0)


def _as_array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
