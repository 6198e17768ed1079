"""Where generated images go: single PNGs, one ``.npz``, packed shards to train on, or one grid. Each in constant memory, complete or absent."""

import contextlib
import math
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

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
MAX_GRID_IMAGES = 1024  # a picture of more cells than that nobody can look at

Blocks = Iterator[np.ndarray]
Writer = Callable[["Request"], str]


class Request:
    """One call of ``generate``: the blocks uint8 ``[B, H, W, C]``, and how many images they hold in all from which index."""

    def __init__(
        self,
        destination: str,
        storage: StorageSpec,
        blocks: Blocks,
        num_images: int,
        start: int,
        origin: str,
    ):
        self.destination, self.storage, self.blocks = destination, storage, blocks
        self.num_images, self.start, self.origin = num_images, start, origin

    def folder(self) -> ObjectStore:
        """The destination as a folder."""
        return open_store(self.destination, self.storage)

    def file(self, name: str) -> tuple[ObjectStore, str]:
        """The destination as a file of that kind, or ``name`` in it where it is a folder."""
        folder, _, last = self.destination.rpartition("/")
        if last and ("://" not in folder or folder.startswith("file://")):
            path = local_path(self.destination)
            folder, last = str(path.parent), path.name
        suffix = Path(last).suffix.lower()
        if suffix == Path(name).suffix:
            return open_store(folder, self.storage), last
        if suffix in PICTURE_SUFFIXES:
            raise ConfigError(
                f"--out is {self.destination}; expected a folder, or a file that ends in {Path(name).suffix} for this --format"
            )
        return self.folder(), name


def check_destination(
    form: str, destination: str, storage: StorageSpec, num_images: int, start: int
) -> None:
    """Raise ``ConfigError`` if ``write_images`` could not write there, or would replace other images. Takes no generator, and no time."""
    request = Request(destination, storage, iter(()), num_images, start, "")
    if form == "png":
        store = request.folder()
        for entry in store.list():
            if PNG_NAME.fullmatch(entry.key) and start <= int(entry.key[:-4]) < start + num_images:
                raise ConfigError(
                    f"{store.uri} holds {entry.key} already; expected none of the images to write: choose another --out or --start"
                )
    elif form == "shards":
        store = request.folder()
        if store.stat(INDEX_KEY) is not None:
            raise ConfigError(
                f"{store.uri} holds a data set already; expected an empty folder: choose another --out"
            )
    else:
        if form == "grid" and num_images > MAX_GRID_IMAGES:
            raise ConfigError(
                f"--num is {num_images} with --format grid; expected at most {MAX_GRID_IMAGES}: use --format png or npz"
            )
        request.file("grid.png" if form == "grid" else "images.npz")


def write_images(
    form: str,
    destination: str,
    storage: StorageSpec,
    blocks: Blocks,
    num_images: int,
    start: int,
    origin: str,
) -> str:
    """Write all images as ``form`` (png, npz, shards or grid); the URI of what was written."""
    check_destination(form, destination, storage, num_images, start)
    writers: dict[str, Writer] = {
        "png": _write_png,
        "npz": _write_npz,
        "shards": _write_shards,
        "grid": _write_grid,
    }
    return writers[form](Request(destination, storage, blocks, num_images, start, origin))


def _write_png(request: Request) -> str:
    """One PNG per image, named by its index."""
    store = request.folder()
    written: list[str] = []
    with _undone_on_failure(store, written):
        for block in request.blocks:
            for image in block:
                key = f"{request.start + len(written):09d}.png"
                store.write(key, png_bytes(image_grid(image[None], 1, 1, scale=1, padding=0)))
                written.append(key)
    return store.uri


def _write_npz(request: Request) -> str:
    """``images`` uint8 ``[N, H, W, C]`` and ``indices`` int64 ``[N]``; ``numpy.load`` reads it."""
    store, key = request.file("images.npz")
    with scratch_folder() as folder:
        path = folder / "images.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            with archive.open("images.npy", "w", force_zip64=True) as member:
                for number, block in enumerate(request.blocks):
                    if number == 0:
                        header = {
                            "descr": "|u1",
                            "fortran_order": False,
                            "shape": (request.num_images, *block.shape[1:]),
                        }
                        np.lib.format.write_array_header_1_0(member, header)
                    member.write(np.ascontiguousarray(block).data)
            with archive.open("indices.npy", "w") as member:
                np.lib.format.write_array(
                    member,
                    np.arange(request.start, request.start + request.num_images, dtype=np.int64),
                )
        store.upload(path, key)
    return f"{store.uri.rstrip('/')}/{key}"


def _write_shards(request: Request) -> str:
    """A packed data set, ready for ``data.uri``: synthetic images where real ones are scarce."""
    store = request.folder()
    with scratch_folder() as folder:
        first = next(request.blocks)
        height, width, channels = first.shape[1:]
        writer = ShardWriter(
            store,
            (height, width, channels),
            folder,
            shard_bytes_for(request.num_images, first[0].size),
        )
        try:
            writer.append(first)
            for block in request.blocks:
                writer.append(block)
            source = PackedSource(request.origin, "generated", None, request.num_images, 0, (), {})
            settings = PackSettings(f"{height}x{width}", channels, "exact")
            shards = writer.finish()
            write_index(
                store,
                Index(
                    (height, width, channels),
                    request.num_images,
                    shards,
                    None,
                    source,
                    settings,
                    versions()["dcgan-train"],
                ),
            )
        except BaseException:  # also Ctrl-C: complete or absent
            writer.discard()
            raise
    return store.uri


def _write_grid(request: Request) -> str:
    """One PNG, as square as the number of images allows."""
    store, key = request.file("grid.png")
    images = np.concatenate(list(request.blocks))
    columns = math.ceil(math.sqrt(request.num_images))
    store.write(
        key, png_bytes(image_grid(images, math.ceil(request.num_images / columns), columns))
    )
    return f"{store.uri.rstrip('/')}/{key}"


@contextlib.contextmanager
def _undone_on_failure(store: ObjectStore, written: list[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(
            StorageError
        ):  # a store that is gone takes no deletes either, and why it went is what matters
            for key in written:
                store.delete(key)
        raise
