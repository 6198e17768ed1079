"""The pictures of a run's folder as ``data:`` URIs for one file: decoded first, so that only a picture gets into it, small and of bounded number."""

import base64
import io
import warnings
from typing import NamedTuple

from PIL import Image

from job.images.grids import evenly_chosen
from job.run.layout import GRIDS, PROGRESS, grid_key, grid_step
from job.storage.store import ObjectMissing, ObjectStore

MAX_GRIDS = 12
MAX_SIDE = 4096
SHOWN_SIDE = 480
MAX_BYTES = 8 << 20


class Picture(NamedTuple):
    """``uri`` is ready for ``src``."""

    caption: str
    uri: str
    size: tuple[int, int]


def read_grids(store: ObjectStore) -> list[Picture]:
    """Some, evenly chosen, the first and the last among them; one that cannot be decoded is left out."""
    steps = sorted(
        step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None
    )
    chosen = [steps[index] for index in evenly_chosen(len(steps), MAX_GRIDS)] if steps else []
    found = ((step, _decoded(_small(store, grid_key(step)), "PNG")) for step in chosen)
    return [_png(f"step {step:,}", image) for step, image in found if image is not None]


def read_gif(store: ObjectStore) -> Picture | None:
    """The GIF of all grids, as it is; None where there is none, or none that is a GIF of a bearable size."""
    data = _small(store, PROGRESS)
    image = _decoded(data, "GIF")
    return Picture("all grids", _uri("gif", data), image.size) if data and image else None


def _decoded(data: bytes | None, form: str) -> Image.Image | None:
    """The first frame; None for what is no picture of that form, or too large a one."""
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[form]) as image:
                if max(image.size) > MAX_SIDE:
                    return None
                return image.convert("L" if image.mode in ("1", "L") else "RGB")
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        return None


def _small(store: ObjectStore, key: str) -> bytes | None:
    entry = store.stat(key)
    if entry is None or entry.num_bytes > MAX_BYTES:
        return None
    try:
        return store.read(key)
    except ObjectMissing:
        return None


def _png(caption: str, image: Image.Image) -> Picture:
    if max(image.size) > SHOWN_SIDE:
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return Picture(caption, _uri("png", buffer.getvalue()), image.size)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
