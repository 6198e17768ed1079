"""Bounds on TIFF files, checked before Pillow and libtiff set memory aside.

Pillow keeps each value of a tag as a Python object, and libtiff decodes a whole tile whatever the size of the image.
"""

import struct

from PIL import Image, TiffImagePlugin

from job.config.errors import DataError

_MAX_TAG_VALUES = 1 << 18  # strips or tiles of one image
_BYTE_TYPES = (1, 2, 6, 7)  # kept as they are: EXIF, XMP and colour profiles may be large


def check_tags(data: bytes) -> None:
    """Raise ``DataError`` if a tag of the first image of a TIFF file has an absurd number of values; other files pass."""
    if data[:2] not in (b"II", b"MM"):
        return
    order, is_big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    start, count, entry = ("Q", "Q", "HHQ8x") if is_big else ("I", "H", "HHI4x")
    try:
        (place,) = struct.unpack_from(order + start, data, 8 if is_big else 4)
        (num_tags,) = struct.unpack_from(order + count, data, place)
        place += struct.calcsize(order + count)
        for number in range(min(num_tags, 1 << 16)):
            tag, kind, num_values = struct.unpack_from(
                order + entry, data, place + number * struct.calcsize(order + entry)
            )
            if num_values > _MAX_TAG_VALUES and kind not in _BYTE_TYPES:
                raise DataError(
                    f"is a TIFF image whose tag {tag} has {num_values:,} values; expected at most {_MAX_TAG_VALUES:,}"
                )
    except (struct.error, OverflowError):  # cut short: Pillow says so
        pass


def tile_pixels(image: Image.Image) -> int:
    """Return how many pixels a tile of ``image`` has; 0 for an image without tiles."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    width, height = (
        image.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0),
        image.tag_v2.get(TiffImagePlugin.TILELENGTH, 0),
    )
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def white_level(image: Image.Image) -> int:
    """Return the 16-bit value that is white in a grey ``image``; negative where 0 is white."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 65535
    level = 4095 if image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (12,) else 65535
    return -level if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 else level
