"""Pixels of every mode as a viewer shows them, or refused by name."""

import struct

import numpy as np
import pytest
from PIL import Image

from job.config.errors import DataError
from tests.data.samples import encoded
from tests.sources.image_files import bmp, decode_any, grey_tiff, png

# Pytest shows the warnings that job.sources.image silences.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"
)


@pytest.mark.parametrize(
    ("bits", "other", "shown"),
    [(1, 0, 0), (2, 2, 170), (4, 9, 153), (8, 100, 100), (16, 25700, 100)],
)
def test_transparent_grey_lies_on_white(bits: int, other: int, shown: int) -> None:
    decoded = decode_any(png(bits, 0, [(1,), (other,), (1,)], (1,)))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [255, shown, 255]


def test_transparent_grey_of_sixteen_bits_is_one_level_only() -> None:
    assert decode_any(png(16, 0, [(1000,), (1001,)], (1000,))).pixels[0, :, 0].tolist() == [255, 4]


def test_transparent_colour_lies_on_white() -> None:
    pixels = decode_any(png(8, 2, [(10, 20, 30), (10, 20, 31)], (10, 20, 30))).pixels[0].tolist()
    assert pixels == [[255, 255, 255], [10, 20, 31]]
    wide = [(0x1020, 0x3040, 0x5060), (0x1020, 0x3040, 0x5061)]  # the high bytes are equal
    assert decode_any(png(16, 2, wide, wide[0])).pixels[0].tolist() == [
        [255, 255, 255],
        [0x10, 0x30, 0x50],
    ]


def test_grey_with_alpha_of_sixteen_bits_stays_grey() -> None:
    decoded = decode_any(png(16, 4, [(0x6400, 0xFFFF), (0x6400, 0)]))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [100, 255]


def test_grey_palette_with_transparency_stays_grey() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 77, 77, 77])
    image.putpixel((0, 0), 0)
    decoded = decode_any(encoded(image, transparency=0))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [255, 77]


def test_alpha_of_a_bmp_that_is_zero_everywhere_was_never_written() -> None:
    assert decode_any(bmp([(10, 20, 30, 0), (1, 2, 3, 0)])).pixels[0].tolist() == [
        [10, 20, 30],
        [1, 2, 3],
    ]
    assert decode_any(bmp([(10, 20, 30, 0), (1, 2, 3, 255)])).pixels[0].tolist() == [
        [255, 255, 255],
        [1, 2, 3],
    ]
    assert decode_any(encoded(Image.new("RGBA", (1, 1), (10, 20, 30, 0)))).pixels[
        0, 0
    ].tolist() == [
        255,
        255,
        255,
    ]  # PNG means it


@pytest.mark.parametrize(
    ("mode", "colour", "shown"),
    [
        ("1", 1, [255]),
        ("L", 99, [99]),
        ("LA", (99, 0), [255]),
        ("P", 1, [200, 30, 40]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), [255, 255, 255]),
        ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
        ("I;16", 25700, [100]),
    ],
)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff(
    mode: str, colour: int | tuple[int, ...], shown: list[int], compression: str | None
) -> None:
    image = Image.new(mode, (3, 2), colour)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 30, 40])
    decoded = decode_any(encoded(image, "TIFF", compression=compression))
    assert decoded.pixels.shape == (2, 3, 3)
    assert decoded.pixels[0, 0].tolist() == shown * (3 // len(shown))
    assert decoded.is_grey == (len(shown) == 1)


def test_tiff_of_premultiplied_alpha() -> None:
    grey = grey_tiff(
        2,
        8,
        False,
        bytes([50, 128, 0, 0]),
        t258=(3, 2, 8 | 8 << 16),
        t277=(3, 1, 2),
        t338=(3, 1, 1),
    )
    assert (
        np.abs(decode_any(grey).pixels[0, :, 0].astype(int) - [177, 255]).max() <= 1
    )  # 50 + 127 of white


def test_tiff_of_the_other_byte_order() -> None:
    assert decode_any(encoded(Image.new("I;16B", (1, 1), 25700), "TIFF")).pixels[0, 0, 0] == 100


def test_tiff_of_a_palette_with_alpha() -> None:
    colours = np.zeros((3, 256), "<u2")
    colours[:, 1] = np.array([200, 30, 40]) * 257
    values = colours.tobytes() + bytes([1, 255, 1, 0])
    pixels = grey_tiff(
        2, 8, False, values, t258=(3, 2, 8 | 8 << 16), t262=(3, 1, 3), t277=(3, 1, 2),
        t338=(3, 1, 2), t320=(3, 768, -1), t273=(4, 1, 8 + 2 + 12 * 11 + 4 + 1536), t279=(4, 1, 4),
    )  # fmt: skip
    assert decode_any(pixels).pixels[0].tolist() == [[200, 30, 40], [255, 255, 255]]


def test_tiff_of_twelve_bits_and_of_inverted_grey() -> None:
    assert decode_any(grey_tiff(2, 12, False, bytes([0xFF, 0xF8, 0x00]))).pixels[
        0, :, 0
    ].tolist() == [
        255,
        128,
    ]
    assert decode_any(grey_tiff(2, 16, True, struct.pack("<2H", 0, 65535))).pixels[
        0, :, 0
    ].tolist() == [255, 0]
    assert decode_any(grey_tiff(2, 8, True, bytes([0, 200]))).pixels[0, :, 0].tolist() == [255, 55]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            Image.new("F", (2, 2), 0.5),
            r"holds floating-point values \(Pillow's mode F\); expected 8 or 16 bits",
        ),
        (
            Image.new("I", (2, 2), 5),
            r"holds integers of 32 bits, or with a sign \(Pillow's mode I\)",
        ),
        (Image.new("LAB", (2, 2)), r"holds CIE L\*a\*b\* values \(Pillow's mode LAB\)"),
    ],
)
def test_modes_without_a_white_are_refused_by_name(image: Image.Image, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_any(encoded(image, "TIFF"))


def test_pnm() -> None:
    assert decode_any(b"P5 2 1 65535\n" + struct.pack(">2H", 25700, 65535)).pixels[
        0, :, 0
    ].tolist() == [100, 255]
    assert decode_any(b"P5 2 1 1023\n" + struct.pack(">2H", 0, 1023)).pixels[0, :, 0].tolist() == [
        0,
        255,
    ]
    assert decode_any(b"P6 1 1 255\n\1\2\3").pixels[0, 0].tolist() == [1, 2, 3]


def first_pixel(image: Image.Image, image_format: str = "PNG", **options: object) -> list[int]:
    return decode_any(encoded(image, image_format, **options)).pixels[0, 0].tolist()


def test_palette_becomes_colour() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    assert first_pixel(image) == [200, 30, 40]


def test_grey_palette_is_grey() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 77, 77, 77])
    decoded = decode_any(encoded(image))
    assert decoded.is_grey
    assert decoded.pixels[0, 0].tolist() == [77, 77, 77]


def test_transparent_palette_lies_on_white() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    assert first_pixel(image, transparency=1) == [255, 255, 255]


def test_alpha_lies_on_white() -> None:
    assert first_pixel(Image.new("RGBA", (2, 2), (0, 0, 0, 0))) == [255, 255, 255]
    assert first_pixel(Image.new("RGBA", (2, 2), (200, 0, 0, 128))) == [227, 127, 127]
    decoded = decode_any(encoded(Image.new("LA", (2, 2), (100, 0))))
    assert decoded.is_grey
    assert decoded.pixels[0, 0].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb() -> None:
    red, green, blue = first_pixel(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    assert red > 240
    assert green < 20
    assert blue < 20


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    image = Image.fromarray(values)
    assert image.mode == "I;16"
    assert decode_any(encoded(image)).pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(np.array([[True, False]]))
    assert image.mode == "1"
    assert decode_any(encoded(image)).pixels[0, :, 0].tolist() == [255, 0]
