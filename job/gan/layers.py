"""Initial weights and activations that both networks use."""

import zlib

import keras


class Initializers:
    """Initial weights with a seed per layer and no global one: all workers build the same."""

    def __init__(self, seed: int, network: str, stddev: float | None):
        self._seed = zlib.crc32(f"{network}/{seed}".encode())
        self._stddev = stddev
        self._count = 0

    def kernel(self) -> keras.initializers.Initializer:
        """Return the next kernel's: normal with the paper's deviation, or Glorot uniform."""
        if self._stddev is None:
            return keras.initializers.GlorotUniform(seed=self._next_seed())
        return keras.initializers.RandomNormal(stddev=self._stddev, seed=self._next_seed())

    def embedding(self, num_classes: int, size: int) -> keras.initializers.Initializer:
        """Return the next embedding's: vectors of norm 1, at right angles if ``size`` allows it.

        Beyond that, 1 is the root of the mean square of their norms.
        """
        gain = max(1.0, num_classes / size) ** 0.5
        return keras.initializers.Orthogonal(gain=gain, seed=self._next_seed())

    def _next_seed(self) -> int:
        self._count += 1
        return (self._seed + self._count) % 2**31


def one_hot(label: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Return labels, int32 ``[B]``, as float32 ``[B, num_classes]``, with a layer of Keras."""
    layer = keras.layers.CategoryEncoding(
        num_classes, output_mode="one_hot", name="one_hot", dtype="float32"
    )
    return layer(label)


def activation(name: str, policy: str) -> keras.layers.Layer:
    """Return ``selu``, ``relu`` or ``leaky_relu`` (slope 0.2) as a layer."""
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.2, dtype=policy)
    return keras.layers.Activation(name, dtype=policy)
