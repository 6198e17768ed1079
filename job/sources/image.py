"""One image: from a file's bytes to uint8 pixels ``[H, W, C]`` of the wanted size.

Knows one image at a time, never where it came from. What a viewer would show is what is packed: EXIF orientation is applied, and
``job.sources.flatten`` makes any mode grey or RGB. Of several frames or pages the first is read. Colour profiles are ignored.
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
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from job.config.errors import DataError
from job.sources.flatten import as_mode, load_flat
from job.sources.formats import FORMAT_NAMES, FORMATS, describe_unknown
from job.sources.tiff import check_tags, tile_pixels

FITS = ("crop", "pad", "stretch", "exact")
# All that Pillow's decoders raise on damaged files, seen by flipping bytes (tests/sources/test_image.py).
_DECODE_ERRORS = (
    *(
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        EOFError,
        IndexError,
        KeyError,
        ArithmeticError,
        RuntimeError,
    ),
    *(struct.error, zlib.error),
)
_ORIENTATION_TAG = 0x0112
_AVIF_EXIF = re.compile(
    rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL
)  # the entry of the EXIF block in the file's list of items
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow only warns between its limit and twice that; `_open` refuses all that is over the limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Many a camera writes EXIF that breaks the rules; the image is whole all the same.
warnings.filterwarnings(
    "ignore", category=UserWarning, module=r"PIL\.(Tiff|Jpeg|Gif|Png)ImagePlugin"
)
# Pillow calls a PNG damaged whose colour profile or text is larger than 1 MiB; the pixels are whole.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20


@dataclass(frozen=True)
class ImagePolicy:
    """What every image is made into: ``size`` is (height, width), None for its own; ``channels`` None makes RGB and notes what was grey."""

    size: tuple[int, int] | None
    channels: int | None
    fit: str = "crop"


class Pixels(NamedTuple):
    """A decoded image: uint8 ``[H, W, C]``, and whether the file held no colour (then all channels are equal)."""

    pixels: NDArray[np.uint8]
    is_grey: bool


def decode_image(data: bytes, policy: ImagePolicy) -> Pixels:
    """Decode and fit one file's bytes; ``DataError``, without the file's name, when they are no whole image."""
    try:
        image = _open(data)
        if policy.size is not None and policy.fit != "exact":
            # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the target leaves the final resampling its quality.
            image.draft(None, (2 * max(policy.size), 2 * max(policy.size)))
        flat = load_flat(image, data)
    except _DECODE_ERRORS as error:
        raise DataError(_reason(data, error)) from None
    if (orientation := _orientation(image)) is not None:
        flat = flat.transpose(orientation)
    is_grey = flat.mode == "L"
    flat = as_mode(flat, "L" if policy.channels == 1 else "RGB")
    return Pixels(_as_array(fit_image(flat, policy)), is_grey)


def fit_pixels(pixels: NDArray[np.uint8], policy: ImagePolicy) -> NDArray[np.uint8]:
    """Raw pixels ``[H, W, 1 or 3]`` made to the policy; ``DataError`` when ``exact`` refuses them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if policy.channels is not None:
        image = as_mode(image, "L" if policy.channels == 1 else "RGB")
    return _as_array(fit_image(image, policy))


def fit_image(image: Image.Image, policy: ImagePolicy) -> Image.Image:
    """``image`` at the policy's size: cropped, padded with black, stretched, or refused with ``DataError``."""
    if policy.size is None or (image.height, image.width) == policy.size:
        return image
    height, width = policy.size
    if policy.fit == "exact":
        raise DataError(
            f"is {image.height}x{image.width}; expected exactly {height}x{width} (another --fit resizes it)"
        )
    if policy.fit == "stretch":
        return _resize(image, height, width, (0.0, 0.0, image.width, image.height))
    if policy.fit == "pad":
        scale = min(height / image.height, width / image.width)
        inner_height, inner_width = (
            max(1, round(image.height * scale)),
            max(1, round(image.width * scale)),
        )
        padded = Image.new(image.mode, (width, height))
        inner = _resize(image, inner_height, inner_width, (0.0, 0.0, image.width, image.height))
        padded.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
        return padded
    scale = min(
        image.height / height, image.width / width
    )  # crop: the largest centred box of the target's shape
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (
        max(left, 0.0),
        max(top, 0.0),
        min(left + width * scale, image.width),
        min(top + height * scale, image.height),
    )
    return _resize(image, height, width, box)


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise DataError(f"is empty (0 bytes); expected a {FORMAT_NAMES} image")
    check_tags(data)
    try:
        image = _open_with_any_exif(data)
    except Image.DecompressionBombError as error:  # from twice the limit on
        raise _bomb(str(error)) from None
    for what, num_pixels in (("Image", image.width * image.height), ("Tile", tile_pixels(image))):
        if Image.MAX_IMAGE_PIXELS is not None and num_pixels > Image.MAX_IMAGE_PIXELS:
            raise _bomb(f"{what} size ({num_pixels} pixels)")
    return image


def _open_with_any_exif(data: bytes) -> ImageFile.ImageFile:
    """Open an image; an AVIF image whose EXIF block is not one, which libavif refuses, without it."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except _DECODE_ERRORS:
        without_exif = _AVIF_EXIF.sub(rb"\1none", data) if data[4:8] == b"ftyp" else data
        if without_exif == data:
            raise
        return Image.open(io.BytesIO(without_exif), formats=FORMATS)


def _bomb(found: str) -> DataError:
    return DataError(
        f"is a decompression bomb? {found}; expected at most {Image.MAX_IMAGE_PIXELS:,} pixels: shrink or remove it"
    )


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """Return how to turn a decoded image upright; None, as it is, also if its EXIF block is not one: the pixels are whole.

    After the pixels: a damaged PNG whose metadata is asked for first decodes without an error.
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


def _reason(data: bytes, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return describe_unknown(data)
    return f"is damaged ({error}); expected a whole {FORMAT_NAMES} image"
