"""Generators of every kind of layer, and latents for them with the images that Keras makes."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from job.synthesis.source import Source, load_generator
from tests.synthesis.runs import save_run, spec_of

MODELS = {
    "transposed": ["notebook"],
    "subpixel of 3 classes": [
        "notebook",
        "model.generator.upsampling=subpixel",
        "model.generator.normalize=before_activation",
        "model.generator.activation=leaky_relu",
        "model.generator.project_activation=true",
        "model.conditional=true",
        "model.channels=3",
        "model.image_size=[32, 24]",
        "training.precision=bfloat16",
    ],
    "even kernels, no norm": [
        "notebook",
        "model.generator.kernel_size=4",
        "model.generator.normalize=none",
        "model.generator.activation=relu",
    ],
}


class Made(NamedTuple):
    """Latents ``[B, Z]``, labels ``[B]`` if there are classes, and images ``[B, H, W, C]``."""

    latents: NDArray[np.float32]
    labels: NDArray[np.int32] | None
    images: NDArray[np.float32]


def source_of(folder: Path, model: str) -> Source:
    """Return a generator of the run folder ``folder / "run"``, with weights that saturate few."""
    save_run(folder / "run", spec_of(*MODELS[model]), 10)
    source, random = load_generator(str(folder / "run"), policy="float32"), np.random.default_rng(3)
    for variable in source.generator.variables:
        deviation = 0.2 if len(variable.shape) == 1 else 0.8 * np.prod(variable.shape[:-1]) ** -0.5
        centre = 1 if variable.name in ("gamma", "moving_variance") else 0
        variable.assign(centre + deviation * random.normal(size=variable.shape).clip(-3, 3))
    return source


def made_by_keras(generator: keras.Model, num_classes: int) -> Made:
    random = np.random.default_rng(0)
    latents = random.normal(size=(3, generator.inputs[0].shape[-1])).astype(np.float32)
    labels = np.array([2, 0, 1], np.int32) if num_classes else None
    inputs = latents if labels is None else [latents, labels]
    images = generator(inputs, training=False).numpy()
    assert images.std() > 0.1
    return Made(latents, labels, images)
