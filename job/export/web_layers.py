"""The generator as the few kinds of layers that the page's script computes.

Batch normalization is one scale and one shift a channel.
"""

from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class WebLayer(NamedTuple):
    """A layer of ``templates/generator.js``: its kind, its output for one image, its numbers."""

    kind: str
    shape: tuple[int, ...]
    arrays: tuple[Array, ...] = ()


def web_layers(generator: keras.Model) -> list[WebLayer]:
    """Return the layers of ``build_generator(...)`` in order."""
    layers = (_web_layer(layer, generator) for layer in generator.layers)
    return [layer for layer in layers if layer is not None]


def latent_directions(generator: keras.Model, num_directions: int) -> Array:
    """Return unit vectors ``[D, Z]`` that change the first layer's output most, largest first.

    Shen and Zhou 2021 (arXiv:2007.06600): eigenvectors of the first weights' products.
    """
    latent_size = generator.inputs[0].shape[-1]
    kernel = generator.get_layer("project").kernel.numpy().astype(np.float64)[:latent_size]
    _, vectors = np.linalg.eigh(kernel @ kernel.T)
    return vectors.T[::-1][:num_directions].astype(np.float32)


def _web_layer(layer: keras.Layer, generator: keras.Model) -> WebLayer | None:
    """Return the layer for the script; None if that of another layer includes it."""
    layers = keras.layers
    shape = layer.output.shape[1:]
    match layer:
        case layers.InputLayer() | layers.CategoryEncoding() | layers.Dense(name="class_embedding"):
            return None
        case layers.Concatenate():  # the latents and the embedding of the class
            return WebLayer("class", shape, _weights(generator.get_layer("class_embedding")))
        case layers.Reshape():
            return WebLayer("reshape", shape)
        case layers.Dense():
            return WebLayer("dense", shape, _weights(layer))
        case layers.Conv2DTranspose():  # a subclass of Conv in some versions: before Conv2D
            return WebLayer("transposed", shape, _weights(layer))
        case layers.Conv2D():
            return WebLayer("convolution", shape, _weights(layer))
        case layers.Permute():  # [H, 2, W, 2, C] of a sub-pixel convolution
            height, two, width, _, channels = shape
            return WebLayer("subpixel", (two * height, two * width, channels))
        case layers.BatchNormalization():
            return WebLayer("scale", shape, _scale_and_shift(layer))
        case layers.LeakyReLU():
            return WebLayer("leaky_relu", shape, (np.array([layer.negative_slope], np.float32),))
        case layers.Activation():
            return WebLayer(layer.activation.__name__, shape)
    raise TypeError(f"{layer.name}: {type(layer).__name__} is not a layer of our generators")


def _weights(layer: keras.Layer) -> tuple[Array, ...]:
    return tuple(weight.numpy().astype(np.float32) for weight in layer.weights)


def _scale_and_shift(layer: keras.layers.BatchNormalization) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (
        weight.numpy().astype(np.float64)
        for weight in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
