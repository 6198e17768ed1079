"""Sample grids of a run: one PNG per stop from the run's fixed latents, and at the end a GIF of them all."""

import keras
import numpy as np

from job.config.spec import RunSpec
from job.gan.latents import fixed_latents
from job.gan.step import encode
from job.quality.grids import image_grid, png_bytes, progress_gif
from job.storage.store import ObjectStore

PROGRESS = "samples/progress.gif"


def grid_key(step: int) -> str:
    """``samples/step-000001200.png``."""
    return f"samples/step-{step:09d}.png"


def save_grid(spec: RunSpec, store: ObjectStore, generator: keras.Model, step: int) -> None:
    """Generate the grid of ``step`` and put it into the run folder."""
    latents = fixed_latents(spec.seed, spec.samples.rows * spec.samples.columns, spec.model.generator.latent_size)
    images = encode(generator(latents, training=False)).numpy().astype(np.uint8)
    store.write(grid_key(step), png_bytes(image_grid(images, spec.samples.rows, spec.samples.columns)))


def save_progress(store: ObjectStore) -> str | None:
    """Join all grids of the run folder, in step order, into ``progress.gif``; its key, or None without grids."""
    keys = [entry.key for entry in store.list("samples/step-") if entry.key.endswith(".png")]
    if not keys:
        return None
    labels = [f"step {int(key.removeprefix('samples/step-').removesuffix('.png'))}" for key in keys]
    store.write(PROGRESS, progress_gif((store.read(key) for key in keys), labels))
    return PROGRESS
