"""Images between generated images: a walk from each index to the next.

Spherical interpolation (White 2016, arXiv:1609.04468; reference implementation: github.com/dribnet/
plat): normal latents lie near a sphere, and the straight line between two leaves it, where the
generator was never trained. Between two classes lies the straight line of their embeddings.
Suffixes: B latents, Z latent size, E size of an embedding.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from job.gan.latents import sample_latents
from job.gan.step import encode
from job.gan.streams import Purpose
from job.synthesis.classes import ClassPlan
from job.synthesis.truncation import truncated


def interpolated_blocks(
    generator: keras.Model,
    seed: int,
    num_images: int,
    start: int,
    num_between: int,
    *,
    is_loop: bool,
    truncation: float | None = None,
    classes: ClassPlan | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield uint8 ``[num_between + 1, H, W, C]`` for each index: its image, and those to the next.

    After the last index comes the first one with ``is_loop``; otherwise one row for each pair of
    neighbours, ``[num_between + 2, H, W, C]``, which ends with the second image.
    """
    zero = tf.constant(0, tf.int64)
    latents = sample_latents(
        seed,
        Purpose.LATENTS_GENERATE,
        zero,
        tf.constant(start, tf.int64),
        num_images,
        generator.inputs[0].shape[-1],
    )
    if truncation is not None:
        latents = truncated(latents, truncation)
    anchors = latents.numpy()
    shares = np.linspace(0, 1, num_between + 2)[: -1 if is_loop else None]
    following = np.roll(anchors, -1, axis=0)
    if classes is not None:
        generator, embedding = _of_embedding(generator)
        embedded = embedding[classes.labels(start, num_images)]
        embedded_following = np.roll(embedded, -1, axis=0)
    for number in range(num_images if is_loop else num_images - 1):
        between = spherical(anchors[number], following[number], shares)
        inputs: Any = between
        if classes is not None:
            share = shares[:, None].astype(np.float32)
            inputs = [
                between,
                (1 - share) * embedded[number] + share * embedded_following[number],
            ]
        yield encode(generator(inputs, training=False)).numpy()


def _of_embedding(generator: keras.Model) -> tuple[keras.Model, NDArray[np.float32]]:
    """Return a generator of ``[latents, embedding [B, E]]``, and the embedding of each class."""
    layer = generator.get_layer("class_embedding")
    inner = keras.Model([generator.inputs[0], layer.output], generator.output)
    return inner, layer.kernel.numpy()


def spherical(
    first: NDArray[np.float32], second: NDArray[np.float32], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return latents ``[B, Z]`` at ``shares`` ``[B]``, 0 to 1, of the arc between two latents [Z].

    Parallel latents have no arc: the line between them is taken.
    """
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    angle = np.arccos(np.clip(np.dot(first, second) / lengths, -1, 1))
    rest, shares = 1 - shares[:, None], shares[:, None]
    if np.sin(angle) > 1e-6:
        rest, shares = (np.sin(share * angle) / np.sin(angle) for share in (rest, shares))
    return (rest * first + shares * second).astype(np.float32)
