"""Spectral normalization: layers whose kernel W is divided by its largest singular value.

Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", arXiv:1802.05957,
algorithm 1. Keras' own wrapper overwrites the kernel in training and starts from noise without a
seed, so replicas would differ. W is a matrix with a column for each output. One step of power
iteration in each forward pass in training updates the singular vector u, a statistic like those of
batch normalization: saved, and never trained. It follows from W and the last u alone, so replicas
agree without communication. The layers are float32 ones, so that Keras rounds no kernel before it
is normalized; with bfloat16 they round their products only.
"""

from typing import Any

import keras
import tensorflow as tf

_TINY = 1e-12


class SpectralConv2D(keras.layers.Conv2D):
    """A convolution with spectral normalization, without activation or dilation."""

    def __init__(self, *arguments: Any, dtype: Any = None, **options: Any) -> None:
        super().__init__(*arguments, dtype="float32", **options)
        self._products = keras.dtype_policies.get(dtype).compute_dtype

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.singular_vector = _singular_vector(self, self.filters)

    def call(self, inputs: Any, training: bool = False) -> Any:
        kernel = normalized(self.kernel.value, self.singular_vector, training)
        images, kernel = (tf.cast(values, self._products) for values in (inputs, kernel))
        outputs = keras.ops.conv(images, kernel, list(self.strides), self.padding)
        return outputs + tf.cast(self.bias.value, self._products)


class SpectralDense(keras.layers.Dense):
    """A dense layer with spectral normalization, without activation."""

    def __init__(self, *arguments: Any, dtype: Any = None, **options: Any) -> None:
        super().__init__(*arguments, dtype="float32", **options)
        self._products = keras.dtype_policies.get(dtype).compute_dtype

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.singular_vector = _singular_vector(self, self.units)

    def call(self, inputs: Any, training: bool = False) -> Any:
        kernel = normalized(self.kernel.value, self.singular_vector, training)
        outputs = tf.matmul(*(tf.cast(values, self._products) for values in (inputs, kernel)))
        return outputs + tf.cast(self.bias.value, self._products) if self.use_bias else outputs


def normalized(kernel: tf.Tensor, vector: keras.Variable, training: bool) -> tf.Tensor:
    """Return ``kernel`` ``[..., outputs]`` over its largest singular value, float32.

    ``vector`` ``[outputs]`` approximates the singular vector; in training it is improved first. The
    gradient passes through the singular value, and not through its vectors.
    """
    matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
    fixed, outer = tf.stop_gradient(matrix), vector.value
    inner = _unit(tf.linalg.matvec(fixed, outer))
    if training:
        outer = _unit(tf.linalg.matvec(fixed, inner, transpose_a=True))
        vector.assign(outer)
    sigma = tf.tensordot(inner, tf.linalg.matvec(matrix, tf.stop_gradient(outer)), 1)
    return kernel / (sigma + _TINY)


def _singular_vector(layer: keras.layers.Layer, size: int) -> keras.Variable:
    return layer.add_weight(
        name="singular_vector",
        shape=(size,),
        initializer=keras.initializers.Constant(size**-0.5),
        dtype="float32",
        trainable=False,
    )


def _unit(vector: tf.Tensor) -> tf.Tensor:
    return vector / (tf.norm(vector) + _TINY)
