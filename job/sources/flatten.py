"""A decoded image of any of Pillow's modes as "L" or "RGB", as a viewer would show it.

Transparency becomes white, 16-bit grey is scaled (Pillow would clip it), palettes and CMYK become
RGB. A mode without a known white is refused.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from job.config.errors import DataError

_GREY_MAXIMA = {"1": 1, "L;2": 3, "L;4": 15}  # of PNG's raw modes; others have 8 bits
_SCALED_VALUES = 1 << 20  # of 16 bits at a time: an index takes eight bytes each
_REFUSED = {
    "I": "integers of 32 bits, or with a sign",
    "F": "floating-point values",
    "LAB": "CIE L*a*b* values",
}


def load_flat(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Decode ``image``, opened from ``data``, to "L" if it holds no colour, else "RGB".

    ``DataError`` for a mode without a meaning as 8-bit pixels; Pillow's errors for damage pass.
    """
    # How a PNG file stores pixels; Pillow forgets it when it decodes them.
    raw_mode = str(image.tile[0].args) if image.format == "PNG" and image.tile else ""
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image)
        return _on_white(_scaled(values, _white_level(image)), values, image, 65535)
    transparent = image.info.get("transparency")
    if image.mode in ("1", "L"):
        grey = np.asarray(as_mode(image, "L"))
        return _on_white(grey, grey, image, _GREY_MAXIMA.get(raw_mode, 255))
    if raw_mode == "RGB;16B" and isinstance(transparent, tuple):
        return _wide_colour_on_white(image, data, transparent)
    if image.mode == "RGBA" and image.format == "BMP" and not image.getchannel("A").getbbox():
        return image.convert("RGB")  # a program that left the fourth byte unused
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or transparent is not None:
        is_grey = image.mode in ("LA", "La") or raw_mode == "LA;16B"
        white = Image.new("RGBA", image.size, "white")
        flat = Image.alpha_composite(white, _with_alpha(image)).convert("L" if is_grey else "RGB")
        return _grey_if_equal(flat) if image.mode in ("P", "PA") else flat
    if image.mode == "P":
        return _grey_if_equal(image.convert("RGB"))
    if image.mode in ("RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        return as_mode(image, "RGB")
    held = _REFUSED.get(image.mode, "pixels that have no meaning as grey or RGB")
    raise DataError(
        f"holds {held} (Pillow's mode {image.mode}); "
        "expected 8 or 16 bits, grey or RGB: save it as an 8-bit PNG"
    )


def as_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return ``image`` in a mode; itself if it has it (Pillow would copy it)."""
    return image if image.mode == mode else image.convert(mode)


def _white_level(image: Image.Image) -> int:
    """Return the 16-bit value of white in a grey ``image``; negative if 0 is white."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535
    level = 4095 if image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535
    return -level if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 else level


def _scaled(values: NDArray[np.integer], white: int) -> NDArray[np.uint8]:
    shown = (np.arange(65536).clip(0, abs(white)) * 255 + abs(white) // 2) // abs(white)
    table = (shown if white > 0 else 255 - shown).astype(np.uint8)
    scaled = np.empty(values.shape, np.uint8)
    step = max(1, _SCALED_VALUES // values.shape[1])
    for start in range(0, len(values), step):
        scaled[start : start + step] = table[values[start : start + step].clip(0, 65535)]
    return scaled


def _on_white(
    grey: NDArray[np.uint8], values: NDArray[np.integer], image: Image.Image, maximum: int
) -> Image.Image:
    """Return ``grey`` with white for the image's transparent grey, if it has one.

    ``values`` are the pixels as stored, or scaled from 0 ... ``maximum`` to 8 bits.
    """
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return Image.fromarray(grey)
    level = transparent & maximum
    if maximum <= 255:
        level = level * 255 // maximum
    return Image.fromarray(np.where(values == level, np.uint8(255), grey))


def _wide_colour_on_white(
    image: Image.Image, data: bytes, transparent: tuple[int, ...]
) -> Image.Image:
    """Return a 16-bit RGB PNG with white for its transparent colour.

    Pillow keeps the high bytes only; a second decoding gives the low ones.
    """
    low_image = Image.open(io.BytesIO(data), formats=("PNG",))
    low_image.tile = [tile._replace(args="RGB;16L") for tile in low_image.tile]
    high, low = np.asarray(image), np.asarray(low_image)
    colour = np.array(transparent, np.uint16)
    is_equal = np.logical_and(high == (colour >> 8), low == (colour & 255))
    return Image.fromarray(np.where(is_equal.all(axis=2, keepdims=True), np.uint8(255), high))


def _with_alpha(image: Image.Image) -> Image.Image:
    premultiplied = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    return (image.convert(premultiplied) if premultiplied else image).convert("RGBA")


def _grey_if_equal(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else image
