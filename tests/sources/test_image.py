"""Decoding: every mode as a viewer would show it, every broken file an error that says how."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import DataError
from job.sources.image import ImagePolicy, decode_image
from tests.data.samples import encoded, grey_png

ROOT = Path(__file__).parents[2]
ANY = ImagePolicy(size=None, channels=None)


def decode(
    image: Image.Image, image_format: str = "PNG", policy: ImagePolicy = ANY, **options: object
) -> np.ndarray:
    return decode_image(encoded(image, image_format, **options), policy).pixels


def first_pixel(image: Image.Image, image_format: str = "PNG", **options: object) -> list[int]:
    return decode(image, image_format, **options)[0, 0].tolist()


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP"])
def test_formats(image_format: str) -> None:
    pixels = decode(Image.new("RGB", (8, 6), (250, 10, 100)), image_format)
    assert pixels.shape == (6, 8, 3)
    assert np.abs(pixels.astype(int) - [250, 10, 100]).max() < 6


MEASURE = """
import sys
from pathlib import Path
from job.sources.image import ImagePolicy, decode_image
def peak():  # not ru_maxrss: see tests/packing/test_pack.py
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
data = Path(sys.argv[1]).read_bytes()
before = peak()
decode_image(data, ImagePolicy((64, 64), None))
print((peak() - before) * 1024)
"""


@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_a_large_image_takes_few_bytes_a_pixel(tmp_path: Path, mode: str) -> None:
    """Many threads decode at a time, each an image of up to 89 million pixels: a copy more is a gigabyte more."""
    (tmp_path / "a.png").write_bytes(encoded(Image.new(mode, (4000, 4000)), compress_level=1))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "a.png")]
    num_bytes = int(
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    )
    assert num_bytes / 4000**2 < 9, f"{num_bytes / 4000**2:.1f} bytes a pixel"


def test_palette_becomes_colour() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    assert first_pixel(image) == [200, 30, 40]


def test_grey_palette_is_grey() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 77, 77, 77])
    decoded = decode_image(encoded(image), ANY)
    assert decoded.is_grey
    assert decoded.pixels[0, 0].tolist() == [77, 77, 77]


def test_transparent_palette_lies_on_white() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    assert first_pixel(image, transparency=1) == [255, 255, 255]


def test_alpha_lies_on_white() -> None:
    assert first_pixel(Image.new("RGBA", (2, 2), (0, 0, 0, 0))) == [255, 255, 255]
    assert first_pixel(Image.new("RGBA", (2, 2), (200, 0, 0, 128))) == [227, 127, 127]
    decoded = decode_image(encoded(Image.new("LA", (2, 2), (100, 0))), ANY)
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
    assert decode(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_one_bit_is_black_and_white() -> None:
    image = Image.fromarray(np.array([[True, False]]))
    assert image.mode == "1"
    assert decode(image)[0, :, 0].tolist() == [255, 0]


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
    """A picture with a dark top left quarter, stored as each orientation says, always decodes to itself."""
    upright = np.full((16, 32), 255, np.uint8)
    upright[:8, :16] = 0
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
              6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1)}[orientation]  # fmt: skip
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
def test_an_exif_block_that_is_none_harms_no_pixel(image_format: str, exif: bytes) -> None:
    image = Image.effect_noise((32, 16), 50)
    data = encoded(image, image_format, exif=exif)
    assert np.array_equal(decode_image(data, ANY).pixels, decode(image, image_format))
    cut = data[:-60] if image_format == "PNG" else data[: len(data) * 3 // 4]
    with pytest.raises(DataError, match="is damaged"):
        decode_image(cut, ANY)


def test_an_exif_block_of_avif_that_is_none_harms_no_pixel() -> None:
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
    """JPEGs are decoded at a fraction of their size; the result must be that of decoding them whole."""
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
            r"is not a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image \(it begins with b'just some te'\)",
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


@pytest.mark.parametrize("side", [10_000, 16_000])
def test_a_decompression_bomb_is_an_error_not_a_warning(
    side: int, recwarn: pytest.WarningsRecorder
) -> None:
    bomb = encoded(Image.new("1", (side, side)))
    assert len(bomb) < 100_000
    with pytest.raises(
        DataError,
        match=rf"is a decompression bomb\? Image size \({side * side} pixels\).*; expected at most 89,478,485 pixels",
    ):
        decode_image(bomb, ANY)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
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
