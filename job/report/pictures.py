"""The pictures of a run folder as ``data:`` URIs: decoded first, small and of bounded number."""

import base64
import io
import warnings
from typing import NamedTuple

from markupsafe import Markup
from PIL import Image

from job.images.grids import evenly_chosen, png_bytes
from job.run.layout import GRIDS, PROGRESS, grid_key, grid_step
from job.storage.store import ObjectMissing, ObjectStore

MAX_GRIDS = 12
MAX_SIDE = 4096
SHOWN_SIDE = 480
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


def read_grids(store: ObjectStore) -> list[Picture]:
    """Return at most ``MAX_GRIDS`` grids, evenly chosen from first to last.

    A grid that cannot be decoded is left out.
    """
    steps = sorted(
        step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None
    )
    chosen = [steps[index] for index in evenly_chosen(len(steps), MAX_GRIDS)] if steps else []
    grids = []
    for step in chosen:
        if image := _decode(_read_small(store, grid_key(step)), "PNG"):
            if max(image.size) > SHOWN_SIDE:
                image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
            grids.append(Picture(f"step {step:,}", _uri("png", png_bytes(image)), image.size))
    return grids


def read_gif(store: ObjectStore) -> Picture | None:
    """Return the GIF of all grids, unchanged; None if there is none or it is broken or large."""
    data = _read_small(store, PROGRESS)
    image = _decode(data, "GIF")
    return Picture("all grids", _uri("gif", data), image.size) if data and image else None


def _decode(data: bytes | None, image_format: str) -> Image.Image | None:
    """Return the first frame; None if it is broken, of another format or too large."""
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[image_format]) as image:
                if max(image.size) > MAX_SIDE:
                    return None
                return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except BROKEN:
        return None


def _read_small(store: ObjectStore, key: str) -> bytes | None:
    entry = store.stat(key)
    if entry is None or entry.num_bytes > MAX_BYTES:
        return None
    try:
        return store.read(key)
    except ObjectMissing:
        return None


def _uri(kind: str, data: bytes) -> Markup:
    return Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
