"""The discriminator: an image ``[B, H, W, C]`` in [-1, 1] to a logit ``[B]``, float32, real > 0.

A conditional one also takes the label y of the image's class and projects (Miyato and Koyama 2018,
arXiv:1802.05637): logit = linear(phi) + <v_y, phi>. phi is the flattened last map, as in the linear
part, and not its sum over the positions as in the paper: the last unit of the paper's network sees
the whole image, one of these two to four convolutions a part of it (13 of 28 pixels in the preset
``fashion``), so that a sum would not know whether the parts are where the class has them.

Dropout is an input, one mask per convolution (``dropout_masks``): randomness here is a function of
step and sample, and Keras' own dropout layer draws the same noise on every worker.
"""

import math

import keras
import tensorflow as tf

from job.config.model import ModelSpec
from job.gan.layers import Initializers, one_hot
from job.gan.spectral import SpectralConv2D, SpectralDense
from job.gan.streams import uniform_rows
from job.gan.strided import FastConv2D


def build_discriminator(
    model: ModelSpec,
    seed: int,
    *,
    num_classes: int = 0,
    policy: str = "float32",
    synchronized: bool = False,
    for_cpu: bool = False,
) -> keras.Model:
    """Return a Keras functional model of ``[images, mask 1, ..., label]``.

    It has masks only with dropout, and the label, int32 ``[B]``, only with ``num_classes``.
    ``for_cpu`` computes the same gradients faster there.
    """
    spec = model.discriminator
    initializers = Initializers(seed, "discriminator", model.init_stddev)
    conv, dense = FastConv2D if for_cpu else keras.layers.Conv2D, keras.layers.Dense
    if spec.spectral_norm:
        conv, dense = SpectralConv2D, SpectralDense
    images = keras.Input((*model.image_size, model.channels), name="images")
    inputs, x = [images], images
    for number, filters in enumerate(spec.filters, start=1):
        x = conv(
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
    logits = dense(1, kernel_initializer=initializers.kernel(), name="logit", dtype="float32")(x)
    if num_classes:
        inputs.append(keras.Input((), dtype="int32", name="label"))
        of_classes = dense(  # <v_y, phi> for every class y
            num_classes,
            use_bias=False,
            kernel_initializer=initializers.kernel(),
            name="projection",
            dtype="float32",
        )(x)
        of_label = keras.layers.Dot(axes=1, name="of_label", dtype="float32")(
            [of_classes, one_hot(inputs[-1], num_classes)]
        )
        logits = keras.layers.Add(name="conditional_logit", dtype="float32")([logits, of_label])
    logits = keras.layers.Reshape((), name="logits", dtype="float32")(logits)
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
    inputs = [tensor for tensor in discriminator.inputs if tensor.name.startswith("mask_")]
    for layer, tensor in enumerate(inputs):
        shape = tensor.shape[1:]
        size = math.prod(shape)
        numbers = uniform_rows(seed, purpose + layer, step, first_index, num_images, size)
        kept = tf.where(numbers >= rate, 1.0 / (1.0 - rate), 0.0)
        masks.append(tf.reshape(kept, [-1, *shape]))
    return masks
