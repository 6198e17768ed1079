"""The discriminator: an image ``[B, H, W, C]`` in [-1, 1] to a logit ``[B]``, float32, real > 0.

Dropout is an input, one mask per convolution (``dropout_masks``): randomness here is a function of
step and sample, and Keras' own dropout layer draws the same noise on every worker.
"""

import math

import keras
import tensorflow as tf

from job.config.model import ModelSpec
from job.gan.layers import Initializers
from job.gan.streams import uniform_rows


def build_discriminator(
    model: ModelSpec, seed: int, *, policy: str = "float32", synchronized: bool = False
) -> keras.Model:
    """Return a Keras functional model of ``[images, mask 1, ...]``; masks only with dropout."""
    spec = model.discriminator
    initializers = Initializers(seed, "discriminator", model.init_stddev)
    images = keras.Input((*model.image_size, model.channels), name="images")
    inputs, x = [images], images
    for number, filters in enumerate(spec.filters, start=1):
        x = keras.layers.Conv2D(
            filters,
            spec.kernel_size,
            strides=2,
            padding="same",
            kernel_initializer=initializers.kernel(),
            name=f"conv_{number}",
            dtype=policy,
        )(x)
        if spec.normalize and number > 1:
            x = keras.layers.BatchNormalization(
                momentum=0.9, synchronized=synchronized, name=f"conv_{number}_norm", dtype=policy
            )(x)
        x = keras.layers.LeakyReLU(
            negative_slope=spec.leaky_slope, name=f"conv_{number}_leaky", dtype=policy
        )(x)
        if spec.dropout > 0:
            inputs.append(keras.Input(x.shape[1:], name=f"mask_{number}"))
            x = keras.layers.Multiply(name=f"dropout_{number}", dtype=policy)([x, inputs[-1]])
    x = keras.layers.Flatten(name="flat", dtype=policy)(x)
    x = keras.layers.Dense(
        1, kernel_initializer=initializers.kernel(), name="logit", dtype="float32"
    )(x)
    logits = keras.layers.Reshape((), name="logits", dtype="float32")(x)
    return keras.Model(inputs, logits, name="discriminator")


def dropout_masks(
    discriminator: keras.Model,
    rate: float,
    seed: int,
    purpose: int,
    step: tf.Tensor,
    first_index: tf.Tensor,
    num_images: int | tf.Tensor,
) -> list[tf.Tensor]:
    """Return a mask ``[B, H, W, C]`` per dropout layer: 0 with probability ``rate``.

    The other entries are 1 / (1 - rate). ``first_index`` is the first image's index in the global
    batch; ``purpose`` is the noise stream of the first layer, and each layer has the next.
    """
    masks = []
    for layer, tensor in enumerate(discriminator.inputs[1:]):
        shape = tensor.shape[1:]
        size = math.prod(shape)
        numbers = uniform_rows(seed, purpose + layer, step, first_index, num_images, size)
        kept = tf.cast(numbers >= rate, tf.float32) * (1.0 / (1.0 - rate))
        masks.append(tf.reshape(kept, [-1, *shape]))
    return masks
