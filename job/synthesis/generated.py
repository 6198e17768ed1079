"""Images to score: of a run, a checkpoint, a Keras file, a packed data set or any other source."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from job.config.errors import ConfigError, DataError
from job.config.storage import StorageSpec
from job.config.text import counted
from job.data.index import INDEX_KEY, ImageClass, PackSettings, read_index
from job.data.rows import MAX_BYTES, LabelledImages, read_rows
from job.packing.pack import PackJob, pack
from job.run.layout import CONFIGURATION
from job.storage.paths import local_path
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.synthesis.classes import class_plan
from job.synthesis.images import image_blocks
from job.synthesis.source import load_generator

_MANIFEST, _CHECKPOINTS = "manifest.json", "checkpoints/"


class Images(NamedTuple):
    """Images and their source: of a run, the checkpoint and the images that trained it."""

    data: LabelledImages
    uri: str
    data_fingerprint: str | None = None


def load_images(
    uri: str,
    storage: StorageSpec,
    shape: tuple[int, int, int],
    num_images: int,
    seed: int,
    *,
    or_fewer: bool = False,
) -> Images:
    """Return ``num_images`` images of ``shape`` ``(H, W, C)`` from ``uri``.

    A generator (a run folder, a checkpoint or ``generator.keras``) makes them from ``seed``. Of
    images that exist (packed, or a source of ``data pack``), ``seed`` draws a sample; ``or_fewer``
    takes all if there are fewer. Otherwise raise ``DataError``, and for another shape.
    """
    if num_images * np.prod(shape, dtype=np.int64) > MAX_BYTES:
        raise ConfigError(
            f"--num is {num_images:,} images of {'x'.join(map(str, shape))}; expected at most"
            f" {MAX_BYTES:,} bytes. Ask for fewer"
        )
    if uri.endswith(".keras"):
        return _made(uri, _load_keras(local_path(uri)), (), shape, num_images, seed)
    if not _is_source(uri):
        store = open_store(uri, storage)
        if store.stat(INDEX_KEY):
            return _sample(store, shape, num_images, seed, or_fewer)
        if _is_run(store):
            source = load_generator(uri, storage)
            made = _made(source.uri, source.generator, source.classes, shape, num_images, seed)
            return made._replace(data_fingerprint=source.data_fingerprint)
    size, channels = f"{shape[0]}x{shape[1]}", shape[2]
    with scratch_folder() as folder:
        settings = PackSettings(size, channels, "exact", seed)
        pack(PackJob(uri, str(folder / "packed"), settings, storage, tmp=folder))
        packed = open_store(str(folder / "packed"))
        return _sample(packed, shape, num_images, seed, or_fewer, uri)


def _is_source(uri: str) -> bool:
    """Return whether ``uri`` is a source of ``data pack`` without a store: a file or a name."""
    if uri.startswith(("keras:", "synthetic:")):
        return True
    return ("://" not in uri or uri.startswith("file://")) and local_path(uri).is_file()


def _is_run(store: ObjectStore) -> bool:
    return any(store.stat(key) for key in (CONFIGURATION, _MANIFEST)) or any(
        store.list(_CHECKPOINTS)
    )


def _load_keras(path: Path) -> keras.Model:
    """Return the generator in a user's Keras file; layers that hold code are rejected."""
    try:
        generator = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras documents no exceptions
        raise ConfigError(
            f"{path}: {error!s:.300}; expected a generator saved by Keras (generator.keras)"
        ) from None
    if len(generator.inputs) != 1:
        raise ConfigError(
            f"{path}: takes {len(generator.inputs)} inputs; expected latents alone. Give the run"
            " folder or the checkpoint of a conditional generator: its classes are there"
        )
    return generator


def _made(
    uri: str,
    generator: keras.Model,
    classes: tuple[ImageClass, ...],
    shape: tuple[int, int, int],
    num_images: int,
    seed: int,
) -> Images:
    """Return images of a generator: each class as often as in its training data, if it has any."""
    _check_shape(uri, generator.output_shape[1:], shape)
    images, labels = np.empty((num_images, *shape), np.uint8), None
    plan = class_plan(classes, (), balanced=False, seed=seed, uri=uri)
    first = 0
    for block in image_blocks(generator, seed, num_images, classes=plan):
        images[first : first + len(block)] = block
        first += len(block)
    if plan is not None:
        labels = plan.labels(0, num_images)
    return Images(LabelledImages(images, labels, plan.names if plan else ()), uri)


def _sample(
    store: ObjectStore,
    shape: tuple[int, int, int],
    num_images: int,
    seed: int,
    or_fewer: bool,
    uri: str = "",
) -> Images:
    """Return random rows of a packed data set: generated ones may be packed class by class."""
    index, uri = read_index(store), uri or store.uri
    _check_shape(uri, index.image_shape, shape)
    if or_fewer:
        num_images = min(num_images, index.num_rows)
    if index.num_rows < num_images:
        raise DataError(
            f"{uri}: {counted(index.num_rows, 'image')}; expected at least {num_images:,}. Pass"
            f" --num {index.num_rows}"
        )
    rows = np.random.default_rng(seed).choice(index.num_rows, num_images, replace=False)
    return Images(read_rows(store, index, np.sort(rows)), uri)


def _check_shape(uri: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(found) != tuple(expected):
        raise DataError(
            f"{uri}: images are {'x'.join(map(str, found))}; expected"
            f" {'x'.join(map(str, expected))} (height x width x channels), as the real ones"
        )
