"""Sample grids of a run: one PNG per stop from the run's fixed latents, and at the end a GIF of them all."""

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
    """Generate the grid of ``step`` and put it into the run folder; its images ``[B, H, W, C]``, uint8.

    Where the store does not take it, training goes on without.
    """
    latents = fixed_latents(
        spec.seed, spec.samples.rows * spec.samples.columns, spec.model.generator.latent_size
    )
    images = encode(generator(latents, training=False)).numpy().astype(np.uint8)
    png = png_bytes(image_grid(images, spec.samples.rows, spec.samples.columns))
    try:
        retry(
            lambda: store.write(grid_key(step), png), GRID_PATIENCE_SECONDS
        )  # training waits meanwhile
    except StorageError as error:
        log.warning("the grid of step %d was not saved: %s", step, error)
    return images


def save_progress(store: ObjectStore) -> None:
    """Join the run folder's grids, in step order, into one GIF, evenly chosen if there are many; nothing happens without grids."""
    steps = sorted(
        step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None
    )
    if steps:
        chosen = [steps[index] for index in evenly_chosen(len(steps), MAX_FRAMES)]
        store.write(
            PROGRESS,
            progress_gif(
                (store.read(grid_key(step)) for step in chosen), [f"step {step}" for step in chosen]
            ),
        )
