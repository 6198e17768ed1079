"""One image: fitted to its size, turned upright, and an error for every broken file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import DataError
from job.sources.image import ImagePolicy, decode_image
from tests.data.peak_memory import number_printed_by
from tests.data.samples import encoded, grey_png
from tests.sources.image_files import ANY, decode_any, grey_tiff, tiff

# Pytest shows the warnings that job.sources.image silences.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"
)


def decode(
    image: Image.Image, image_format: str = "PNG", policy: ImagePolicy = ANY, **options: object
) -> np.ndarray:
    return decode_image(encoded(image, image_format, **options), policy).pixels


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP"])
def test_formats(image_format: str) -> None:
    pixels = decode(Image.new("RGB", (8, 6), (250, 10, 100)), image_format)
    assert pixels.shape == (6, 8, 3)
    assert np.abs(pixels.astype(int) - [250, 10, 100]).max() < 6


MEASURE = """
import sys
from pathlib import Path
from job.sources.image import ImagePolicy, decode_image
from tests.data.peak_memory import peak_bytes
data = Path(sys.argv[1]).read_bytes()
before = peak_bytes()
decode_image(data, ImagePolicy((64, 64), None))
print(peak_bytes() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_a_large_image_takes_few_bytes_a_pixel(tmp_path: Path, mode: str) -> None:
    """Many threads each decode up to 89 million pixels: one more copy is one more gigabyte."""
    (tmp_path / "a.png").write_bytes(encoded(Image.new(mode, (4000, 4000)), compress_level=1))
    num_bytes = number_printed_by(MEASURE, tmp_path / "a.png")
    assert num_bytes / 4000**2 < 9, f"{num_bytes / 4000**2:.1f} bytes a pixel"


def test_channels() -> None:
    colour, grey = Image.new("RGB", (3, 3), (255, 0, 0)), Image.new("L", (3, 3), 9)
    assert decode(colour, policy=ImagePolicy(None, 1)).shape == (3, 3, 1)
    assert (
        decode(colour, policy=ImagePolicy(None, 1))[0, 0, 0] == 76
    )  # ITU-R 601-2 luma of pure red
    assert decode(grey, policy=ImagePolicy(None, 3))[0, 0].tolist() == [9, 9, 9]
    assert decode_image(encoded(grey), ANY).is_grey
    assert not decode_image(encoded(colour), ANY).is_grey


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """An image with a dark top left quarter decodes to itself, whatever its orientation tag."""
    upright = np.full((16, 32), 255, np.uint8)
    upright[:8, :16] = 0
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", exif=exif, quality=95)[
        ..., 0
    ]
    assert pixels.shape == (16, 32)
    assert pixels[4, 8] < 50
    assert min(pixels[4, 24], pixels[12, 8], pixels[12, 24]) > 200


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [b"not exif", b"x", b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\1\0", b"Exif\0\0II*\0\xff\xff\xff\xff"],
)
def test_an_invalid_exif_block_changes_no_pixel(image_format: str, exif: bytes) -> None:
    image = Image.effect_noise((32, 16), 50)
    data = encoded(image, image_format, exif=exif)
    assert np.array_equal(decode_image(data, ANY).pixels, decode(image, image_format))
    cut = data[:-60] if image_format == "PNG" else data[: len(data) * 3 // 4]
    with pytest.raises(DataError, match="is damaged"):
        decode_image(cut, ANY)


def test_an_invalid_exif_block_of_avif_changes_no_pixel() -> None:
    image, exif = Image.effect_noise((32, 16), 50), Image.Exif()
    exif[0x0112] = 6
    whole = encoded(image, "AVIF")
    exif[0x010E] = "description"
    begin = exif.tobytes().removeprefix(b"Exif\0\0")[:8]
    data = encoded(image, "AVIF", exif=exif)
    assert begin in data
    turned = decode_image(data, ANY).pixels
    assert turned.shape == (
        32,
        16,
        3,
    )  # Pillow writes the orientation beside the block, so it holds without it
    assert np.array_equal(decode_image(data.replace(begin, b"not exif"), ANY).pixels, turned)
    assert np.array_equal(np.rot90(turned), decode_image(whole, ANY).pixels)


def quarters(width: int, height: int) -> Image.Image:
    """Left half 0, right half 200."""
    values = np.zeros((height, width), np.uint8)
    values[:, width // 2 :] = 200
    return Image.fromarray(values)


def test_crop_takes_the_middle() -> None:
    pixels = decode(quarters(64, 16), policy=ImagePolicy((8, 8), 1, "crop"))[..., 0]
    assert pixels.shape == (8, 8)
    assert pixels[:, :3].max() < 20
    assert pixels[:, 5:].min() > 180


def test_pad_adds_black_borders() -> None:
    pixels = decode(Image.new("L", (32, 16), 200), policy=ImagePolicy((16, 16), 1, "pad"))[..., 0]
    assert pixels[:4].max() == pixels[12:].max() == 0
    assert pixels[5:11].min() > 190


def test_stretch_keeps_everything() -> None:
    pixels = decode(quarters(64, 16), policy=ImagePolicy((8, 8), 1, "stretch"))[..., 0]
    assert pixels[0, 0] < 20
    assert pixels[0, 7] > 180


def test_exact_refuses_another_size() -> None:
    policy = ImagePolicy((8, 8), 1, "exact")
    assert decode(Image.new("L", (8, 8), 3), policy=policy)[0, 0, 0] == 3
    with pytest.raises(DataError, match="is 16x64; expected exactly 8x8"):
        decode(quarters(64, 16), policy=policy)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 3)])
def test_extreme_shapes_fit(fit: str, size: tuple[int, int]) -> None:
    assert decode(Image.new("L", size, 5), policy=ImagePolicy((6, 9), 1, fit)).shape == (6, 9, 1)


def test_a_large_photo_looks_the_same_reduced() -> None:
    """A JPEG is decoded at a fraction of its size, with the result of decoding it whole."""
    y, x = np.mgrid[0:800, 0:1200]
    stripes = 127 + 120 * np.sin(x / 4)  # too fine for an eighth of the size
    photo = Image.fromarray(
        np.stack([x / 1200 * 255, y / 800 * 255, stripes], axis=-1).astype(np.uint8)
    )
    data = encoded(photo, "JPEG", quality=95)
    reduced = decode_image(data, ImagePolicy((96, 96), 3)).pixels.astype(int)
    whole = (
        Image.open(io.BytesIO(data))
        .crop((200, 0, 1000, 800))
        .resize((96, 96), Image.Resampling.LANCZOS)
    )
    assert np.abs(reduced - np.asarray(whole).astype(int))[1:-1, 1:-1].mean() < 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (
            b"just some text",
            r"is not a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image \(it begins with "
            r"b'just some te'\)",
        ),
        (
            encoded(Image.new("L", (4, 4)), "PCX"),
            "is not a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image",
        ),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900], "is damaged"),
        (encoded(Image.effect_noise((64, 64), 50))[:900], "is damaged"),
        (grey_png(3)[:20], "is damaged|is not a PNG"),
    ],
)
def test_broken_files_are_errors(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_image(data, ANY)


@pytest.mark.slow
@pytest.mark.parametrize("side", [10_000, 16_000])
def test_a_decompression_bomb_is_an_error_not_a_warning(
    side: int, recwarn: pytest.WarningsRecorder
) -> None:
    bomb = encoded(Image.new("1", (side, side)))
    assert len(bomb) < 100_000
    with pytest.raises(
        DataError,
        match=rf"is a decompression bomb\? Image size \({side * side} pixels\).*; expected at "
        "most 89,478,485 pixels",
    ):
        decode_image(bomb, ANY)


@pytest.mark.parametrize(
    "image_format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF"]
)
def test_damaged_bytes_never_crash(image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    mode = "P" if image_format in ("PNG", "GIF") else "RGB"
    options = {} if image_format in ("BMP", "GIF", "PPM") else {"exif": exif}
    whole = encoded(Image.effect_noise((24, 24), 90).convert(mode), image_format, **options)
    random = np.random.default_rng(0)
    num_refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for place in random.integers(0, min(len(data), 400), 3):
            data[place] = random.integers(0, 256)
        try:
            decode_image(bytes(data[: random.integers(1, len(data) + 1)]), ANY)
        except DataError:
            num_refused += 1
    assert num_refused > 50


def test_a_tiff_is_turned_upright_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode_any(
        encoded(Image.fromarray(np.array([[0, 80], [160, 240]], np.uint8)), "TIFF", exif=exif)
    ).pixels
    assert pixels[..., 0].tolist() == [[160, 0], [240, 80]]


def test_avif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode_any(
        encoded(Image.new("RGBA", (8, 6), (250, 10, 100, 255)), "AVIF", exif=exif)
    ).pixels
    assert pixels.shape == (8, 6, 3)
    assert np.abs(pixels.astype(int) - [250, 10, 100]).max() < 10


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_is_read(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), (value, value, value)) for value in (40, 200, 90)]
    data = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert np.abs(decode_any(data).pixels.astype(int) - 40).max() < 5


def test_later_frames_of_a_gif_are_not_even_read() -> None:
    frames = [Image.effect_noise((32, 32), 50 + number) for number in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode_any(data[: len(data) // 2]).pixels[..., 0], np.asarray(frames[0]))


def test_a_tile_of_a_tiff_is_a_decompression_bomb() -> None:
    side = 10_000
    tile = zlib.compress(bytes(1000))
    tags = {
        256: (3, 1, 16), 257: (3, 1, 16), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1),
        322: (3, 1, side), 323: (3, 1, side), 324: (4, 1, -1), 325: (4, 1, len(tile)),
    }  # fmt: skip
    data = tiff(tags, tile)
    with pytest.raises(
        DataError,
        match=r"is a decompression bomb\? Tile size \(100000000 pixels\); expected at most "
        "89,478,485",
    ):
        decode_any(data)


@pytest.mark.parametrize("tag", [258, 273, 279])
def test_a_tag_of_a_tiff_has_at_most_262144_values(tag: int) -> None:
    whole = grey_tiff(16, 8, False, bytes(16))
    assert decode_any(whole).pixels.shape == (1, 16, 3)
    with pytest.raises(
        DataError,
        match=rf"is a TIFF image whose tag {tag} has 300,000 values; expected at most 262,144",
    ):
        decode_any(
            grey_tiff(16, 8, False, b"\x08\0\0\0" * 300_000, **{f"t{tag}": (4, 300_000, -1)})
        )


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
        decode_any(header)


def test_a_large_colour_profile_or_text_is_accepted() -> None:
    large = zlib.compress(bytes(3 << 20))
    info = io.BytesIO()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(info, "PNG", icc_profile=bytes(3 << 20))
    assert decode_any(info.getvalue()).pixels[0, 0].tolist() == [1, 2, 3]
    text = b"workflow\0\0" + large
    chunk = (
        struct.pack(">I", len(text))
        + b"zTXt"
        + text
        + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    whole = encoded(Image.new("RGB", (2, 2), (1, 2, 3)))
    assert decode_any(whole[:33] + chunk + whole[33:]).pixels[0, 0].tolist() == [1, 2, 3]
