"""One image: from the bytes of a PNG, JPEG, WebP or BMP file to uint8 pixels ``[H, W, C]`` of the wanted size.

Knows one image at a time, never where it came from. What a viewer would show is what is packed: EXIF orientation is applied, transparency
lies on white, 16-bit grey is scaled (Pillow would clip it), palette and CMYK become RGB. Colour profiles are ignored.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from job.config.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp")
FITS = ("crop", "pad", "stretch", "exact")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# All that Pillow's decoders raise on damaged files, seen by flipping bytes (tests/data/test_image.py).
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError, struct.error, zlib.error)
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
# Pillow only warns between its limit and twice that; `_open` refuses all that is over the limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Many a camera writes EXIF that breaks the rules; the image is whole all the same.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


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
        orientation = _ORIENTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
        if policy.size is not None and policy.fit != "exact":
            # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the target leaves the final resampling its quality.
            image.draft(None, (2 * max(policy.size), 2 * max(policy.size)))
        image.load()
    except _DECODE_ERRORS as error:
        raise DataError(_reason(data, error)) from None
    if orientation is not None:
        image = image.transpose(orientation)
    image = _flatten(image)
    is_grey = image.mode == "L"
    image = image.convert("L" if policy.channels == 1 else "RGB")
    return Pixels(_as_array(fit_image(image, policy)), is_grey)


def fit_pixels(pixels: NDArray[np.uint8], policy: ImagePolicy) -> NDArray[np.uint8]:
    """Raw pixels ``[H, W, 1 or 3]`` made to the policy; ``DataError`` when ``exact`` refuses them."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if policy.channels is not None:
        image = image.convert("L" if policy.channels == 1 else "RGB")
    return _as_array(fit_image(image, policy))


def fit_image(image: Image.Image, policy: ImagePolicy) -> Image.Image:
    """``image`` at the policy's size: cropped, padded with black, stretched, or refused with ``DataError``."""
    if policy.size is None or (image.height, image.width) == policy.size:
        return image
    height, width = policy.size
    if policy.fit == "exact":
        raise DataError(f"is {image.height}x{image.width}; expected exactly {height}x{width} (another --fit resizes it)")
    if policy.fit == "stretch":
        return _resize(image, height, width, (0.0, 0.0, image.width, image.height))
    if policy.fit == "pad":
        scale = min(height / image.height, width / image.width)
        inner_height, inner_width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
        padded = Image.new(image.mode, (width, height))
        inner = _resize(image, inner_height, inner_width, (0.0, 0.0, image.width, image.height))
        padded.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
        return padded
    scale = min(image.height / height, image.width / width)  # crop: the largest centred box of the target's shape
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    box = (max(left, 0.0), max(top, 0.0), min(left + width * scale, image.width), min(top + height * scale, image.height))
    return _resize(image, height, width, box)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise DataError("is empty (0 bytes); expected a PNG, JPEG, WebP or BMP image")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:  # from twice the limit on
        raise _bomb(str(error)) from None
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise _bomb(f"Image size ({image.width * image.height} pixels)")
    return image


def _bomb(found: str) -> DataError:
    return DataError(f"is a decompression bomb? {found}; expected at most {Image.MAX_IMAGE_PIXELS:,} pixels: shrink or remove it")


def _flatten(image: Image.Image) -> Image.Image:
    """``image`` as "L" or "RGB", whatever its mode."""
    if image.mode.startswith(("I", "F")):  # a 16-bit grey PNG: scaled, where convert("L") would clip everything above 255 to white
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        is_grey = image.mode in ("1", "L", "LA", "La")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("L" if is_grey else "RGB")
    if image.mode == "P":
        rgb = image.convert("RGB")
        red, green, blue = rgb.split()
        return red if red.tobytes() == green.tobytes() == blue.tobytes() else rgb
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _resize(image: Image.Image, height: int, width: int, box: tuple[float, float, float, float]) -> Image.Image:
    return image.resize((width, height), Image.Resampling.LANCZOS, box, reducing_gap=3.0)


def _as_array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _reason(data: bytes, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is not a PNG, JPEG, WebP or BMP image (it begins with {data[:12]!r})"
    return f"is damaged ({error}); expected a whole PNG, JPEG, WebP or BMP image"
