"""Sample grids of a run: PNGs from its fixed latents, and at the end a GIF of them all.

The grid of a conditional model has a row for each class, and one latent vector for each column.
"""

import logging

import keras
import numpy as np
import tensorflow as tf

from job.config.errors import StorageError
from job.config.spec import RunSpec
from job.config.waits import GRID_PATIENCE_SECONDS
from job.gan.latents import fixed_latents, with_labels
from job.gan.step import encode
from job.images.grids import evenly_chosen, image_grid, png_bytes, progress_gif
from job.run.layout import GRIDS, PROGRESS, grid_key, grid_step
from job.storage.retry import retry
from job.storage.store import ObjectStore

log = logging.getLogger("dcgan.training")

MAX_FRAMES = 100  # of the GIF
MAX_GRID_CLASSES = 32  # rows; the limit of ``samples.rows``


def save_grid(
    spec: RunSpec, store: ObjectStore, generator: keras.Model, step: int, num_classes: int = 0
) -> np.ndarray:
    """Generate and write the grid of ``step``; return its images ``[B, H, W, C]``, uint8.

    If the store refuses it, log a warning and continue.
    """
    inputs = grid_inputs(spec, num_classes)
    images = encode(generator(inputs, training=False)).numpy().astype(np.uint8)
    columns = spec.samples.columns
    png = png_bytes(image_grid(images, len(images) // columns, columns))
    try:  # training waits meanwhile
        retry(lambda: store.write(grid_key(step), png), GRID_PATIENCE_SECONDS)
    except StorageError as error:
        log.warning("the grid of step %d was not saved: %s", step, error)
    return images


def grid_inputs(spec: RunSpec, num_classes: int) -> tf.Tensor | list[tf.Tensor]:
    """Return the generator's inputs for a grid, row by row: latents, or ``[latents, labels]``.

    A conditional model's grid has a row for each class instead of ``samples.rows``, at most
    ``MAX_GRID_CLASSES``. Its columns share a latent vector: what differs between the rows is due to
    the class.
    """
    columns, latent_size = spec.samples.columns, spec.model.generator.latent_size
    if not num_classes:
        return fixed_latents(spec.seed, spec.samples.rows * columns, latent_size)
    rows = min(num_classes, MAX_GRID_CLASSES)
    latents = tf.tile(fixed_latents(spec.seed, columns, latent_size), [rows, 1])
    return with_labels(latents, tf.repeat(tf.range(rows), columns))


def save_progress(store: ObjectStore) -> None:
    """Write a GIF of the run folder's grids in step order, at most ``MAX_FRAMES`` of them."""
    steps = sorted(
        step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None
    )
    if steps:
        chosen = [steps[index] for index in evenly_chosen(len(steps), MAX_FRAMES)]
        grids = (store.read(grid_key(step)) for step in chosen)
        store.write(PROGRESS, progress_gif(grids, [f"step {step}" for step in chosen]))
