"""Write generated images into one file: an ``.npz``, a grid, a GIF or an MP4.

Complete or absent; an ``.npz`` in constant memory, the others with few images.
``job.synthesis.parts`` has the formats of several files.
"""

import io
import itertools
import math
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.images.grids import image_grid, png_bytes
from job.storage.paths import local_path
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.synthesis.marking import DIGITAL_SOURCE_TYPE, FIELD, marked

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".mp4")
ARRAY_SUFFIXES = (".npz", ".npy", ".zip")
MAX_GRID_IMAGES = 1024  # more cells than that nobody can look at
_FILES = {"npz": "images.npz", "grid": "grid.png", "gif": "images.gif", "mp4": "images.mp4"}
WALKS = ("gif", "mp4")  # from image to image and back to the first
_FRAMES_PER_SECOND = 20

Blocks = Iterator[np.ndarray]  # uint8 [B, H, W, C]


class Destination(NamedTuple):
    """A checked place for ``num_images`` images from index ``start`` on, in one format."""

    form: str
    store: ObjectStore
    key: str  # of the file
    num_images: int
    start: int
    is_marked: bool = True  # as synthetic
    num_between: int | None = None  # images interpolated between two; None: none


def open_destination(
    form: str,
    uri: str,
    storage: StorageSpec,
    num_images: int,
    start: int,
    *,
    is_marked: bool = True,
    num_between: int | None = None,
) -> Destination:
    """Return where to write ``form`` (npz, grid, gif or mp4); loads no TensorFlow.

    ``ConfigError`` if that cannot be written there.
    """
    num_cells = num_images * (1 if num_between is None else num_between + 2)
    if form == "mp4" and find_spec("av") is None:
        raise ConfigError(
            "--format mp4 needs the package av, which is not installed; run `pip install av`"
            " (the extra `video` of dcgan-train), or choose --format gif"
        )
    if form in ("grid", *WALKS) and num_cells > MAX_GRID_IMAGES:
        between = "" if num_between is None else f" and --interpolate {num_between}"
        raise ConfigError(
            f"--num is {num_images}{between} with --format {form}; expected at most"
            f" {MAX_GRID_IMAGES} images: use --format png or npz"
        )
    if (num_between is None and form in WALKS) or (
        num_between is not None and (form not in ("grid", *WALKS) or num_images < 2)
    ):
        found = "not set" if num_between is None else num_between
        raise ConfigError(
            f"--interpolate is {found} with --format {form} and --num {num_images}; expected"
            " a number with --format grid, gif or mp4 and --num 2 or more, and none with others"
        )
    store, key = open_file(uri, storage, _FILES[form])
    return Destination(form, store, key, num_images, start, is_marked, num_between)


def write_images(
    destination: Destination,
    blocks: Blocks,
    labels: NDArray[np.int32] | None = None,
    num_in_turn: int = 0,
) -> str:
    """Write all images and return the URI of the file.

    An npz also gets ``labels``. In a grid of classes that are made in turn, ``num_in_turn`` of
    them, each column has one class.
    """
    store = destination.store
    match destination.form:
        case "npz":
            _write_npz(destination, blocks, labels)
        case "gif":
            _write_gif(destination, blocks)
        case "mp4":
            _write_mp4(destination, blocks)
        case _:
            _write_grid(destination, blocks, num_in_turn or 1)
    return f"{store.uri.rstrip('/')}/{destination.key}"


def open_file(
    uri: str, storage: StorageSpec, name: str, option: str = "--out"
) -> tuple[ObjectStore, str]:
    """Return the store and key of the file ``uri``, or of ``name`` in the folder ``uri``."""
    folder, _, last = uri.rpartition("/")
    if last and ("://" not in folder or folder.startswith("file://")):
        path = local_path(uri)
        folder, last = str(path.parent), path.name
    suffix = Path(last).suffix.lower()
    if suffix == Path(name).suffix:
        return open_store(folder, storage), last
    if suffix in PICTURE_SUFFIXES + ARRAY_SUFFIXES:
        raise ConfigError(
            f"{option} is {uri}; expected a folder, or a file that ends in {Path(name).suffix} "
            "for this format"
        )
    return open_store(uri, storage), name


def _write_npz(destination: Destination, blocks: Blocks, labels: NDArray[np.int32] | None) -> None:
    """Write ``images`` uint8 ``[N, H, W, C]`` and ``indices`` int64 ``[N]`` for ``numpy.load``.

    With classes also ``labels``, int32 ``[N]``. ``digital_source_type`` marks them as synthetic:
    text, without an axis.
    """
    num_images, start = destination.num_images, destination.start
    with scratch_folder() as folder:
        path = folder / "images.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("images.npy", "w", force_zip64=True) as member:
                for number, block in enumerate(blocks):
                    if number == 0:
                        shape = (num_images, *block.shape[1:])
                        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(member, header)
                    member.write(np.ascontiguousarray(block).data)
            arrays: dict[str, np.ndarray] = {
                "indices": np.arange(start, start + num_images, dtype=np.int64)
            }
            if labels is not None:
                arrays["labels"] = labels
            if destination.is_marked:
                arrays[FIELD] = np.array(DIGITAL_SOURCE_TYPE)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        destination.store.upload(path, destination.key)


def _write_grid(destination: Destination, blocks: Blocks, num_in_turn: int) -> None:
    """Write one PNG, about square; interpolated: a row for each two.

    The number of columns is a multiple of ``num_in_turn``.
    """
    images = np.concatenate(list(blocks))
    if destination.num_between is None:
        side = math.ceil(math.sqrt(destination.num_images))
        columns = num_in_turn * max(1, round(side / num_in_turn))
    else:
        columns = destination.num_between + 2
    png = png_bytes(image_grid(images, math.ceil(len(images) / columns), columns))
    destination.store.write(destination.key, marked(png) if destination.is_marked else png)


def _write_gif(destination: Destination, blocks: Blocks) -> None:
    """Write one endless GIF; its comment marks it as synthetic, as a GIF has no XMP in Pillow."""
    pictures = list(_frames(blocks))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=1000 // _FRAMES_PER_SECOND,
        loop=0,
        comment=DIGITAL_SOURCE_TYPE.encode() if destination.is_marked else b"",
    )
    destination.store.write(destination.key, buffer.getvalue())


def _write_mp4(destination: Destination, blocks: Blocks) -> None:
    """Write one H.264 video of good quality; its comment marks it as synthetic."""
    import av  # the extra `video`

    frames = _frames(blocks)
    first = next(frames)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as video:
        if destination.is_marked:
            video.metadata["comment"] = DIGITAL_SOURCE_TYPE
        stream = video.add_stream("libx264", rate=_FRAMES_PER_SECOND, options={"crf": "18"})
        stream.width, stream.height = (side + side % 2 for side in first.size)  # H.264: even
        stream.pix_fmt = "yuv420p"  # what browsers and phones play
        for picture in itertools.chain([first], frames):
            video.mux(stream.encode(av.VideoFrame.from_image(picture.convert("RGB"))))
        video.mux(stream.encode())
    destination.store.write(destination.key, buffer.getvalue())


def _frames(blocks: Blocks) -> Iterator[Image.Image]:
    return (image_grid(image[None], 1, 1, padding=0) for block in blocks for image in block)
