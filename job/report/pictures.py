"""The sample grids of a run as ``data:`` URIs: decoded first, of bounded number and size.

All are WebP: for grids that are still noise it takes a tenth of the bytes of a GIF.
"""

import base64
import io
import warnings
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from markupsafe import Markup
from PIL import Image

from job.images.grids import captioned, evenly_chosen
from job.run.layout import GRIDS, grid_step
from job.storage.store import ObjectInfo, ObjectMissing, ObjectStore

T = TypeVar("T")
MAX_GRIDS = 12
MAX_FRAMES = 24  # read from the store
SHOWN_SIDE = 336  # twice the width of a grid on the page, and the width of the animation
# Together at most 0.8 MB as base64: the page stays under 1 MB.
MAX_GRID_BYTES = 24_000
MAX_WIDE_BYTES, WIDE_SIDE = 60_000, 1400
MAX_ANIMATION_BYTES = 300_000
# Quality of WebP and number of frames, the best first; noise ends at one of the last.
CHOICES = ((85, 24), (70, 24), (50, 24), (30, 24), (30, 12), (10, 12), (10, 6), (0, 6))
FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 250, 2000
MAX_SIDE = 4096
MAX_BYTES = 8 << 20
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class Picture(NamedTuple):
    """``uri`` is for ``src``; ``size`` is width and height."""

    caption: str
    uri: Markup
    size: tuple[int, int]


class Pictures(NamedTuple):
    """At most ``MAX_GRIDS`` grids, and an animation of at most ``MAX_FRAMES`` if there are two."""

    grids: list[Picture]
    animation: Picture | None


def read_pictures(store: ObjectStore) -> Pictures:
    """Return grids of the run, evenly chosen from first to last.

    A grid that cannot be decoded is left out.
    """
    entries = [entry for entry in store.list(GRIDS) if grid_step(entry.key) is not None]
    frames = [
        (f"step {grid_step(entry.key):,}", image)
        for entry in _spread(entries, MAX_FRAMES)
        if (image := _decode(_read_small(store, entry))) is not None
    ]
    grids = [
        _picture(caption, [image], MAX_GRID_BYTES) for caption, image in _spread(frames, MAX_GRIDS)
    ]
    if len(frames) < 2:
        return Pictures(grids, None)
    captions, images = zip(*frames, strict=True)
    return Pictures(
        grids, _picture("all grids", list(captioned(images, captions)), MAX_ANIMATION_BYTES)
    )


def read_picture(store: ObjectStore, key: str, caption: str) -> Picture | None:
    """Return a wide picture of the run folder; None if it is missing or broken."""
    found = store.stat(key)
    image = _decode(_read_small(store, found), WIDE_SIDE) if found else None
    return None if image is None else _picture(caption, [image], MAX_WIDE_BYTES)


def _picture(caption: str, frames: list[Image.Image], max_bytes: int) -> Picture:
    """Return ``frames`` in the best of ``CHOICES`` that takes at most ``max_bytes``."""
    for quality, max_frames in CHOICES:
        data = _webp(_spread(frames, max_frames), quality)
        if len(data) <= max_bytes:
            break
    uri = Markup(f"data:image/webp;base64,{base64.b64encode(data).decode()}")
    return Picture(caption, uri, frames[0].size)


def _webp(frames: list[Image.Image], quality: int) -> bytes:
    buffer = io.BytesIO()
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    frames[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        quality=quality,
    )
    return buffer.getvalue()


def _spread(items: Sequence[T], max_items: int) -> list[T]:
    return [items[index] for index in evenly_chosen(len(items), max_items)] if items else []


def _decode(data: bytes | None, side: int = SHOWN_SIDE) -> Image.Image | None:
    """Return a PNG, at most ``side`` large; None if it is broken, another format or huge."""
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as file:
                if max(file.size) > MAX_SIDE:
                    return None
                image = file.convert("L" if file.mode in ("1", "L") else "RGB")
    except BROKEN:
        return None
    image.thumbnail((side, side), Image.Resampling.BOX)
    return image


def _read_small(store: ObjectStore, entry: ObjectInfo) -> bytes | None:
    try:
        return store.read(entry.key) if entry.num_bytes <= MAX_BYTES else None
    except ObjectMissing:
        return None
