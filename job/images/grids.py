"""Grids of images as PNG, and the GIF of a run's grids: uint8 pixels in, encoded bytes out."""

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

MIN_SHOWN_PIXELS = 96
CAPTION_PIXELS = 28
CAPTION_FONT_PIXELS = 18
MIN_FONT_PIXELS = 8
WHITE = 255


def image_grid(
    images: npt.NDArray[np.uint8],
    rows: int,
    columns: int,
    scale: int | None = None,
    padding: int = 4,
) -> Image.Image:
    """Return ``images`` ``[B, H, W, C]`` (uint8, C 1 or 3) on a white grid, row by row.

    Each is enlarged ``scale`` times without smoothing (None: to at least ``MIN_SHOWN_PIXELS``) and
    padded with ``padding`` pixels. Spare cells stay white. Raises ``ValueError`` for another shape
    or type, or more images than cells.
    """
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] not in (1, 3)
        or 0 in images.shape
    ):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)};"
            " expected uint8 [B, H, W, C] with 1 or 3 channels"
        )
    num_images, height, width, channels = images.shape
    if rows < 1 or columns < 1 or num_images > rows * columns:
        raise ValueError(
            f"{num_images} images on a grid of {rows} x {columns}; expected at most rows * columns"
        )
    scale = max(1, -(-MIN_SHOWN_PIXELS // max(height, width))) if scale is None else scale
    if scale < 1 or padding < 0:
        raise ValueError(f"scale is {scale} and padding {padding}; expected at least 1 and 0")
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    step_down, step_right = height * scale + padding, width * scale + padding
    canvas = np.full(
        (rows * step_down + padding, columns * step_right + padding, channels), WHITE, np.uint8
    )
    for index, image in enumerate(large):
        top, left = padding + index // columns * step_down, padding + index % columns * step_right
        canvas[top : top + height * scale, left : left + width * scale] = image
    return Image.fromarray(canvas[:, :, 0] if channels == 1 else canvas)


def png_bytes(image: Image.Image) -> bytes:
    """Return ``image`` encoded as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def progress_gif(
    frames: Iterable[bytes],
    labels: Sequence[str],
    seconds_per_frame: float = 0.25,
    last_frame_seconds: float = 2.0,
) -> bytes:
    """Return a looping GIF of the PNGs in ``frames``, each with its label below it.

    The last frame is shown longer. Frames are read one by one and fitted to the size of the first.
    Raises ``ValueError`` if frames and labels differ in number.
    """
    if not labels:
        raise ValueError("0 labels; expected at least 1")
    pictures = captioned((_opened(data) for data in frames), labels)
    first = next(pictures)
    durations = [round(seconds_per_frame * 1000)] * (len(labels) - 1) + [
        round(last_frame_seconds * 1000)
    ]
    buffer = io.BytesIO()
    first.save(
        buffer, format="GIF", save_all=True, append_images=pictures, duration=durations, loop=0
    )
    return buffer.getvalue()


def evenly_chosen(num_items: int, max_items: int) -> list[int]:
    """Return at most ``max_items`` (2 or more) evenly spread indices, with the first and last."""
    indices = np.linspace(0, num_items - 1, min(num_items, max_items)).round()
    return [int(index) for index in indices]


def captioned(frames: Iterable[Image.Image], labels: Sequence[str]) -> Iterator[Image.Image]:
    """Yield each frame with its label below it, fitted to the size of the first.

    Raises ``ValueError`` at the end if frames and labels differ in number.
    """
    size: tuple[int, int] | None = None
    count = 0
    for index, grid in enumerate(frames):
        count += 1
        if index >= len(labels):
            continue
        size = size or grid.size
        if grid.size != size:  # the grid's rows or columns were changed during the run
            grid = ImageOps.pad(grid, size, Image.Resampling.NEAREST, color="white")
        yield _with_caption(grid, labels[index])
    if count != len(labels):
        raise ValueError(f"{count} frames with {len(labels)} labels; expected one label per frame")


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as file:
        return file.convert("L" if file.mode in ("1", "L") else "RGB")


def _with_caption(grid: Image.Image, text: str) -> Image.Image:
    """Return ``grid`` with ``text`` centred in a white strip below it, small enough to fit."""
    white = WHITE if grid.mode == "L" else (WHITE, WHITE, WHITE)
    picture = Image.new(grid.mode, (grid.width, grid.height + CAPTION_PIXELS), white)
    picture.paste(grid, (0, 0))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(CAPTION_FONT_PIXELS)
    fit = 0.95 * grid.width / max(1.0, draw.textlength(text, font=font))
    if fit < 1:
        font = ImageFont.load_default(max(MIN_FONT_PIXELS, int(CAPTION_FONT_PIXELS * fit)))
    draw.text(
        (grid.width / 2, grid.height + CAPTION_PIXELS / 2),
        text,
        fill=0 if grid.mode == "L" else (0, 0, 0),
        font=font,
        anchor="mm",
    )
    return picture
