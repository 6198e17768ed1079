"""Pixels of every mode and format as a viewer shows them, or refused by name; what a file claims takes no memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from job.config.errors import DataError
from job.sources.image import ImagePolicy, Pixels, decode_image
from tests.data.samples import encoded

ANY = ImagePolicy(size=None, channels=None)
# Pytest shows the warnings that job.sources.image silences.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"
)


def decode(data: bytes) -> Pixels:
    return decode_image(data, ANY)


def png(
    bits: int,
    colour_type: int,
    pixels: list[tuple[int, ...]],
    transparent: tuple[int, ...] | None = None,
) -> bytes:
    """A PNG of one row; its samples and its transparent colour are written as they are given."""
    row = "".join(f"{value:0{bits}b}" for pixel in pixels for value in pixel)
    packed = int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", len(pixels), 1, bits, colour_type, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    chunks += [(b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff(tags: dict[int, tuple[int, int, int]], values: bytes) -> bytes:
    """A little-endian TIFF: tag to (type, number of values, value); a value of -1 is where ``values`` begin."""
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, *rest, start if value < 0 else value)
        for tag, (*rest, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values


def grey_tiff(
    width: int, bits: int, white_is_zero: bool, values: bytes, **changed: tuple[int, int, int]
) -> bytes:
    tags = {256: (3, 1, width), 257: (3, 1, 1), 258: (3, 1, bits), 259: (3, 1, 1), 262: (3, 1, 0 if white_is_zero else 1), 273: (4, 1, -1),
            277: (3, 1, 1), 278: (3, 1, 1), 279: (4, 1, len(values))}  # fmt: skip
    return tiff(tags | {int(tag[1:]): entry for tag, entry in changed.items()}, values)


def bmp(pixels: list[tuple[int, int, int, int]]) -> bytes:
    """A BMP of one row with the header that knows alpha (BITMAPV4HEADER)."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (
        struct.pack("<IiiHHIIiiII", 108, len(pixels), 1, 1, 32, 3, 4 * len(pixels), 0, 0, 0, 0)
        + masks
        + bytes(52)
    )
    values = b"".join(bytes([blue, green, red, alpha]) for red, green, blue, alpha in pixels)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(values), 0, 0, 14 + 108) + header + values


@pytest.mark.parametrize(
    ("bits", "other", "shown"),
    [(1, 0, 0), (2, 2, 170), (4, 9, 153), (8, 100, 100), (16, 25700, 100)],
)
def test_transparent_grey_lies_on_white(bits: int, other: int, shown: int) -> None:
    decoded = decode(png(bits, 0, [(1,), (other,), (1,)], (1,)))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [255, shown, 255]


def test_transparent_grey_of_sixteen_bits_is_one_level_only() -> None:
    assert decode(png(16, 0, [(1000,), (1001,)], (1000,))).pixels[0, :, 0].tolist() == [255, 4]


def test_transparent_colour_lies_on_white() -> None:
    pixels = decode(png(8, 2, [(10, 20, 30), (10, 20, 31)], (10, 20, 30))).pixels[0].tolist()
    assert pixels == [[255, 255, 255], [10, 20, 31]]
    wide = [(0x1020, 0x3040, 0x5060), (0x1020, 0x3040, 0x5061)]  # the high bytes are equal
    assert decode(png(16, 2, wide, wide[0])).pixels[0].tolist() == [
        [255, 255, 255],
        [0x10, 0x30, 0x50],
    ]


def test_grey_with_alpha_of_sixteen_bits_stays_grey() -> None:
    decoded = decode(png(16, 4, [(0x6400, 0xFFFF), (0x6400, 0)]))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [100, 255]


def test_grey_palette_with_transparency_stays_grey() -> None:
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 77, 77, 77])
    image.putpixel((0, 0), 0)
    decoded = decode(encoded(image, transparency=0))
    assert decoded.is_grey
    assert decoded.pixels[0, :, 0].tolist() == [255, 77]


def test_alpha_of_a_bmp_that_is_zero_everywhere_was_never_written() -> None:
    assert decode(bmp([(10, 20, 30, 0), (1, 2, 3, 0)])).pixels[0].tolist() == [
        [10, 20, 30],
        [1, 2, 3],
    ]
    assert decode(bmp([(10, 20, 30, 0), (1, 2, 3, 255)])).pixels[0].tolist() == [
        [255, 255, 255],
        [1, 2, 3],
    ]
    assert decode(encoded(Image.new("RGBA", (1, 1), (10, 20, 30, 0)))).pixels[0, 0].tolist() == [
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
    decoded = decode(encoded(image, "TIFF", compression=compression))
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
        np.abs(decode(grey).pixels[0, :, 0].astype(int) - [177, 255]).max() <= 1
    )  # 50 + 127 of white


def test_tiff_of_the_other_byte_order() -> None:
    assert decode(encoded(Image.new("I;16B", (1, 1), 25700), "TIFF")).pixels[0, 0, 0] == 100


def test_tiff_of_a_palette_with_alpha() -> None:
    colours = np.zeros((3, 256), "<u2")
    colours[:, 1] = np.array([200, 30, 40]) * 257
    pixels = grey_tiff(2, 8, False, colours.tobytes() + bytes([1, 255, 1, 0]), t258=(3, 2, 8 | 8 << 16), t262=(3, 1, 3), t277=(3, 1, 2),
                       t338=(3, 1, 2), t320=(3, 768, -1), t273=(4, 1, 8 + 2 + 12 * 11 + 4 + 1536), t279=(4, 1, 4))  # fmt: skip
    assert decode(pixels).pixels[0].tolist() == [[200, 30, 40], [255, 255, 255]]


def test_tiff_of_twelve_bits_and_of_inverted_grey() -> None:
    assert decode(grey_tiff(2, 12, False, bytes([0xFF, 0xF8, 0x00]))).pixels[0, :, 0].tolist() == [
        255,
        128,
    ]
    assert decode(grey_tiff(2, 16, True, struct.pack("<2H", 0, 65535))).pixels[
        0, :, 0
    ].tolist() == [255, 0]
    assert decode(grey_tiff(2, 8, True, bytes([0, 200]))).pixels[0, :, 0].tolist() == [255, 55]


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
        decode(encoded(image, "TIFF"))


def test_a_tiff_is_turned_upright_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(
        encoded(Image.fromarray(np.array([[0, 80], [160, 240]], np.uint8)), "TIFF", exif=exif)
    ).pixels
    assert pixels[..., 0].tolist() == [[160, 0], [240, 80]]


def test_avif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(
        encoded(Image.new("RGBA", (8, 6), (250, 10, 100, 255)), "AVIF", exif=exif)
    ).pixels
    assert pixels.shape == (8, 6, 3)
    assert np.abs(pixels.astype(int) - [250, 10, 100]).max() < 10


def test_pnm() -> None:
    assert decode(b"P5 2 1 65535\n" + struct.pack(">2H", 25700, 65535)).pixels[
        0, :, 0
    ].tolist() == [100, 255]
    assert decode(b"P5 2 1 1023\n" + struct.pack(">2H", 0, 1023)).pixels[0, :, 0].tolist() == [
        0,
        255,
    ]
    assert decode(b"P6 1 1 255\n\1\2\3").pixels[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_is_read(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), (value, value, value)) for value in (40, 200, 90)]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data).pixels.astype(int) - 40).max() < 5


def test_later_frames_of_a_gif_are_not_even_read() -> None:
    frames = [Image.effect_noise((32, 32), 50 + number) for number in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode(data[: len(data) // 2]).pixels[..., 0], np.asarray(frames[0]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC image, which is not read; convert it"),
        (b"\xff\x0a\0\0", "is a JPEG XL image"),
        (encoded(Image.new("L", (8, 8)), "JPEG2000"), "is a JPEG 2000 image"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid ",
            "is a Git LFS pointer, not an image; fetch the images with `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>", "is a web page or SVG"),
        (
            b"II*\0\x08\0\0\0\0\0",
            "is a TIFF image that is damaged or of a kind that Pillow cannot read",
        ),
    ],
)
def test_what_is_not_read_is_named_by_content(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(data)


def test_a_tile_of_a_tiff_is_a_decompression_bomb() -> None:
    side = 10_000
    tile = zlib.compress(bytes(1000))
    data = tiff({256: (3, 1, 16), 257: (3, 1, 16), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1), 322: (3, 1, side), 323: (3, 1, side),
                 324: (4, 1, -1), 325: (4, 1, len(tile))}, tile)  # fmt: skip
    with pytest.raises(
        DataError,
        match=r"is a decompression bomb\? Tile size \(100000000 pixels\); expected at most 89,478,485",
    ):
        decode(data)


@pytest.mark.parametrize("tag", [258, 273, 279])
def test_a_tag_of_a_tiff_has_at_most_262144_values(tag: int) -> None:
    whole = grey_tiff(16, 8, False, bytes(16))
    assert decode(whole).pixels.shape == (1, 16, 3)
    with pytest.raises(
        DataError,
        match=rf"is a TIFF image whose tag {tag} has 300,000 values; expected at most 262,144",
    ):
        decode(grey_tiff(16, 8, False, b"\x08\0\0\0" * 300_000, **{f"t{tag}": (4, 300_000, -1)}))


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "AVIF", "PPM"])
def test_large_images_of_other_formats_are_bombs(image_format: str) -> None:
    header = {
        "GIF": b"GIF89a"
        + struct.pack("<2H3B", 10_000, 10_000, 0, 0, 0)
        + b","
        + struct.pack("<4HB", 0, 0, 10_000, 10_000, 0)
        + b"\x08\0;",
        "TIFF": grey_tiff(65535, 8, False, bytes(9), t257=(3, 1, 2000)),
        "PPM": b"P5 10000 10000 255\n",
        "AVIF": encoded(Image.new("RGB", (16, 16)), "AVIF").replace(
            b"ispe\0\0\0\0" + struct.pack(">2I", 16, 16),
            b"ispe\0\0\0\0" + struct.pack(">2I", 10_000, 10_000),
        ),
    }[image_format]
    with pytest.raises(DataError, match=r"is a decompression bomb\? Image size \(\d+ pixels\)"):
        decode(header)


def test_a_large_colour_profile_or_text_is_no_damage() -> None:
    large = zlib.compress(bytes(3 << 20))
    info = io.BytesIO()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(info, "PNG", icc_profile=bytes(3 << 20))
    assert decode(info.getvalue()).pixels[0, 0].tolist() == [1, 2, 3]
    text = b"workflow\0\0" + large
    chunk = (
        struct.pack(">I", len(text))
        + b"zTXt"
        + text
        + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    whole = encoded(Image.new("RGB", (2, 2), (1, 2, 3)))
    assert decode(whole[:33] + chunk + whole[33:]).pixels[0, 0].tolist() == [1, 2, 3]
