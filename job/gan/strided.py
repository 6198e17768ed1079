"""Stride-2 convolutions for CPUs, with faster gradients than TensorFlow's.

The gradient of the input is also the forward pass of a transposed convolution. An output of it at
2m + a, along one axis, is a sum over every second tap of the kernel only: for each of the two a, so
each of the four (a, b) of an image, it is a small convolution of stride 1. TensorFlow computes
those four in 0.6 of the time of its one operation (128 to 64 channels, docs/performance.md). The
gradient of the kernel is a dilated convolution, in 0.4 to 0.9 of the time. The sums are the same,
in another order. A convolution from or to few channels, of an odd size or of a kernel below 4 stays
TensorFlow's.
"""

import keras
import tensorflow as tf

_MIN_CHANNELS = 32  # below, TensorFlow's own operations are faster


class FastConv2D(keras.layers.Conv2D):
    """``Conv2D`` of stride 2 with padding ``same``. Never saved: snapshots copy its weights."""

    def convolution_op(self, inputs: tf.Tensor, kernel: keras.Variable) -> tf.Tensor:
        return convolve(inputs, tf.convert_to_tensor(kernel))


class FastConv2DTranspose(keras.layers.Conv2DTranspose):
    """``Conv2DTranspose`` of stride 2 with padding ``same`` and without activation."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = convolve_transposed(inputs, tf.convert_to_tensor(self.kernel))
        return outputs + tf.convert_to_tensor(self.bias)


def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return the convolution of ``x`` ``[B, H, W, C]``, stride 2, padding ``same``.

    ``kernel`` is ``[K, K, C, filters]``; the result ``[B, H / 2, W / 2, filters]``, rounded up.
    """
    is_even = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    if not (is_even and _is_large(kernel)):
        return tf.nn.conv2d(x, kernel, 2, "SAME")

    @tf.custom_gradient
    def computed(x: tf.Tensor, kernel: tf.Tensor):
        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return convolve_transposed(dy, kernel), _kernel_gradient(x, kernel, dy)

        return tf.nn.conv2d(x, kernel, 2, "SAME"), gradients

    return computed(x, kernel)


def convolve_transposed(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return the transposed convolution of ``x`` ``[B, H, W, C]``, stride 2, padding ``same``.

    ``kernel`` is ``[K, K, filters, C]``; the result ``[B, 2 H, 2 W, filters]``.
    """
    if not _is_large(kernel):
        _, height, width, _ = x.shape
        shape = [tf.shape(x)[0], 2 * height, 2 * width, kernel.shape[2]]
        return tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME")

    @tf.custom_gradient
    def computed(x: tf.Tensor, kernel: tf.Tensor):
        def gradients(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return convolve(dy, kernel), _kernel_gradient(dy, kernel, x)

        return _four(x, kernel), gradients

    return computed(x, kernel)


def _four(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    _, height, width, _ = x.shape
    turned = tf.transpose(kernel, (0, 1, 3, 2))
    taps, paddings = zip(*(_taps(kernel.shape[0], a) for a in (0, 1)), strict=True)
    rows = []
    for a in (0, 1):
        of_row = tf.gather(turned, taps[a], axis=0)  # copies blocks; a slice by steps is slow
        columns = [
            tf.nn.conv2d(
                x,
                tf.gather(of_row, taps[b], axis=1),
                1,
                [[0, 0], paddings[a], paddings[b], [0, 0]],
            )
            for b in (0, 1)
        ]
        rows.append(tf.stack(columns, axis=3))  # [B, H, W, 2, filters]
    joined = tf.stack(rows, axis=2)  # [B, H, 2, W, 2, filters]
    return tf.reshape(joined, [-1, 2 * height, 2 * width, kernel.shape[2]])


def _taps(size: int, a: int) -> tuple[list[int], tuple[int, int]]:
    """Return the taps that the outputs 2m + a use, for the inputs in order, and the padding of m.

    Output o takes input i by tap t if 2 i + t - p = o, where p is the padding before of the
    convolution whose gradient this is: i = m + (a + p - t) / 2.
    """
    p = (size - 2) // 2
    taps = list(range((a + p) % 2, size, 2))[::-1]
    return taps, ((taps[0] - a - p) // 2, (a + p - taps[-1]) // 2)


def _kernel_gradient(x: tf.Tensor, kernel: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """Return the gradient of ``kernel`` of the convolution of ``x`` ``[B, H, W, C]``.

    ``dy`` ``[B, H / 2, W / 2, filters]`` is the gradient of its result. A tap's is a sum over every
    second pixel, for all taps together a convolution over the batch with ``dy`` as its kernel,
    dilated by 2.
    """
    size = kernel.shape[0]

    @tf.custom_gradient
    def computed(x: tf.Tensor, dy: tf.Tensor):
        def gradients(dk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return convolve_transposed(dy, dk), convolve(x, dk)

        padding = (size - 2) // 2, size - 2 - (size - 2) // 2
        by_channel, as_kernel = tf.transpose(x, (3, 1, 2, 0)), tf.transpose(dy, (1, 2, 0, 3))
        paddings = [[0, 0], padding, padding, [0, 0]]
        result = tf.nn.conv2d(by_channel, as_kernel, 1, paddings, dilations=2)
        return tf.transpose(result, (1, 2, 0, 3)), gradients

    return computed(x, dy)


def _is_large(kernel: tf.Tensor) -> bool:
    size, _, channels, filters = kernel.shape
    return size > 3 and min(channels, filters) >= _MIN_CHANNELS
