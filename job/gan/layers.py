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
        self._count += 1
        seed = (self._seed + self._count) % 2**31
        if self._stddev is None:
            return keras.initializers.GlorotUniform(seed=seed)
        return keras.initializers.RandomNormal(stddev=self._stddev, seed=seed)


def activation(name: str, policy: str) -> keras.layers.Layer:
    """Return ``selu``, ``relu`` or ``leaky_relu`` (slope 0.2) as a layer."""
    if name == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.2, dtype=policy)
    return keras.layers.Activation(name, dtype=policy)
