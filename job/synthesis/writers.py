"""Write generated images: single PNGs, one ``.npz``, packed shards to train on, or one grid.

Each in constant memory, complete or absent.
"""

import contextlib
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.config.versions import versions
from job.data.index import INDEX_KEY, Index, PackedSource, PackSettings, write_index
from job.data.shard_writer import ShardWriter, shard_bytes_for
from job.images.grids import image_grid, png_bytes
from job.storage.paths import local_path
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectStore
from job.storage.uri import open_store

PNG_NAME = re.compile(r"\d{9,}\.png")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".npz", ".npy", ".zip")
MAX_GRID_IMAGES = 1024  # more cells than that nobody can look at
_FILES = {"npz": "images.npz", "grid": "grid.png"}

Blocks = Iterator[np.ndarray]  # uint8 [B, H, W, C]


class Destination(NamedTuple):
    """A checked place for ``num_images`` images from index ``start`` on, in one format."""

    form: str
    store: ObjectStore
    key: str  # of the file; empty for a folder of files
    num_images: int
    start: int


def open_destination(
    form: str, uri: str, storage: StorageSpec, num_images: int, start: int
) -> Destination:
    """Return where to write ``form`` (png, npz, shards or grid); loads no TensorFlow.

    ``ConfigError`` if that cannot be written there, or would replace other images.
    """
    if form == "grid" and num_images > MAX_GRID_IMAGES:
        raise ConfigError(
            f"--num is {num_images} with --format grid; expected at most {MAX_GRID_IMAGES}: "
            "use --format png or npz"
        )
    if form in _FILES:
        return Destination(form, *_open_file(uri, storage, _FILES[form]), num_images, start)
    store = open_store(uri, storage)
    if form == "shards" and store.stat(INDEX_KEY) is not None:
        raise ConfigError(
            f"{store.uri} holds a data set already; expected an empty folder: choose another --out"
        )
    for entry in store.list() if form == "png" else ():
        if PNG_NAME.fullmatch(entry.key) and start <= int(entry.key[:-4]) < start + num_images:
            raise ConfigError(
                f"{store.uri} holds {entry.key} already; expected none of the images to write: "
                "choose another --out or --start"
            )
    return Destination(form, store, "", num_images, start)


def write_images(destination: Destination, blocks: Blocks, origin: str) -> str:
    """Write all images and return the URI of what was written; ``origin`` is their source."""
    store = destination.store
    match destination.form:
        case "png":
            _write_png(destination, blocks)
        case "npz":
            _write_npz(destination, blocks)
        case "shards":
            _write_shards(destination, blocks, origin)
        case _:
            _write_grid(destination, blocks)
    return f"{store.uri.rstrip('/')}/{destination.key}" if destination.key else store.uri


def _open_file(uri: str, storage: StorageSpec, name: str) -> tuple[ObjectStore, str]:
    """Return the store and key of the file ``uri``, or of ``name`` in the folder ``uri``."""
    folder, _, last = uri.rpartition("/")
    if last and ("://" not in folder or folder.startswith("file://")):
        path = local_path(uri)
        folder, last = str(path.parent), path.name
    suffix = Path(last).suffix.lower()
    if suffix == Path(name).suffix:
        return open_store(folder, storage), last
    if suffix in PICTURE_SUFFIXES:
        raise ConfigError(
            f"--out is {uri}; expected a folder, or a file that ends in {Path(name).suffix} "
            "for this --format"
        )
    return open_store(uri, storage), name


def _write_png(destination: Destination, blocks: Blocks) -> None:
    """Write one PNG per image, named by its index."""
    written: list[str] = []
    try:
        for block in blocks:
            for image in block:
                key = f"{destination.start + len(written):09d}.png"
                png = png_bytes(image_grid(image[None], 1, 1, scale=1, padding=0))
                destination.store.write(key, png)
                written.append(key)
    except BaseException:
        with contextlib.suppress(StorageError):  # the first error is the one to report
            for key in written:
                destination.store.delete(key)
        raise


def _write_npz(destination: Destination, blocks: Blocks) -> None:
    """Write ``images`` uint8 ``[N, H, W, C]`` and ``indices`` int64 ``[N]`` for ``numpy.load``."""
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
            with archive.open("indices.npy", "w") as member:
                indices = np.arange(start, start + num_images, dtype=np.int64)
                np.lib.format.write_array(member, indices)
        destination.store.upload(path, destination.key)


def _write_shards(destination: Destination, blocks: Blocks, origin: str) -> None:
    """Write a packed data set for ``data.uri``: synthetic images to add to few real ones."""
    store, num_images = destination.store, destination.num_images
    first = next(blocks)
    height, width, channels = shape = first.shape[1:]
    shard_bytes = shard_bytes_for(num_images, first[0].size)
    with scratch_folder() as folder, ShardWriter(store, shape, folder, shard_bytes) as writer:
        writer.append(first)
        for block in blocks:
            writer.append(block)
        source = PackedSource(origin, "generated", None, num_images, 0, (), {})
        settings = PackSettings(f"{height}x{width}", channels, "exact")
        packed_by = versions()["dcgan-train"]
        shards = writer.finish()
        write_index(store, Index(shape, num_images, shards, None, source, settings, packed_by))


def _write_grid(destination: Destination, blocks: Blocks) -> None:
    """Write one PNG, as square as the number of images allows."""
    columns = math.ceil(math.sqrt(destination.num_images))
    rows = math.ceil(destination.num_images / columns)
    png = png_bytes(image_grid(np.concatenate(list(blocks)), rows, columns))
    destination.store.write(destination.key, png)
