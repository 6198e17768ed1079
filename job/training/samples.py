"""Sample grids of a run: PNGs from its fixed latents, and at the end a GIF of them all."""

import logging

import keras
import numpy as np

from job.config.errors import StorageError
from job.config.spec import RunSpec
from job.config.waits import GRID_PATIENCE_SECONDS
from job.gan.latents import fixed_latents
from job.gan.step import encode
from job.images.grids import evenly_chosen, image_grid, png_bytes, progress_gif
from job.run.layout import GRIDS, PROGRESS, grid_key, grid_step
from job.storage.retry import retry
from job.storage.store import ObjectStore

log = logging.getLogger("dcgan.training")

MAX_FRAMES = 100  # of the GIF


def save_grid(spec: RunSpec, store: ObjectStore, generator: keras.Model, step: int) -> np.ndarray:
    """Generate and write the grid of ``step``; return its images ``[B, H, W, C]``, uint8.

    If the store refuses it, log a warning and continue.
    """
    rows, columns = spec.samples.rows, spec.samples.columns
    latents = fixed_latents(spec.seed, rows * columns, spec.model.generator.latent_size)
    images = encode(generator(latents, training=False)).numpy().astype(np.uint8)
    png = png_bytes(image_grid(images, rows, columns))
    try:  # training waits meanwhile
        retry(lambda: store.write(grid_key(step), png), GRID_PATIENCE_SECONDS)
    except StorageError as error:
        log.warning("the grid of step %d was not saved: %s", step, error)
    return images


def save_progress(store: ObjectStore) -> None:
    """Write a GIF of the run folder's grids in step order, at most ``MAX_FRAMES`` of them."""
    steps = sorted(
        step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None
    )
    if steps:
        chosen = [steps[index] for index in evenly_chosen(len(steps), MAX_FRAMES)]
        grids = (store.read(grid_key(step)) for step in chosen)
        store.write(PROGRESS, progress_gif(grids, [f"step {step}" for step in chosen]))
