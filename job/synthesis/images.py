"""Generated images by index: the same seed and index give the same image, bit for bit.

A generator's last bits can depend on how many images it makes together. So images are always made
in whole blocks at fixed places (0..63, 64..127, ...), and those not asked for are dropped.
"""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from job.gan.latents import sample_latents
from job.gan.step import encode
from job.gan.streams import Purpose

BLOCK_IMAGES = 64


def image_blocks(
    generator: keras.Model, seed: int, num_images: int, start: int = 0
) -> Iterator[np.ndarray]:
    """Yield the images ``start ... start + num_images - 1``: uint8 ``[B, H, W, C]``, B <= 64."""
    latent_size = generator.input_shape[-1]

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
    def make_block(first_index: tf.Tensor) -> tf.Tensor:
        step = tf.constant(0, tf.int64)
        latents = sample_latents(
            seed, Purpose.LATENTS_GENERATE, step, first_index, BLOCK_IMAGES, latent_size
        )
        return encode(generator(latents, training=False))

    stop = start + num_images
    for first in range(start - start % BLOCK_IMAGES, stop, BLOCK_IMAGES):
        images = make_block(tf.constant(first, tf.int64)).numpy()
        yield images[max(start - first, 0) : stop - first]
