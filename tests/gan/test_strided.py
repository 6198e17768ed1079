"""The faster convolutions compute what TensorFlow's do, gradients of gradients included."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from job.gan import strided
from job.gan.networks import build_networks
from job.gan.strided import FastConv2D, FastConv2DTranspose, convolve, convolve_transposed
from job.training.multi_step import build_train_call
from tests.gan.tiny import small

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "_MIN_CHANNELS", 8)


Values = list[tf.Tensor]


def gradients(function: Callable[..., tf.Tensor], *inputs: tf.Tensor) -> Values:
    """Return the value, its gradients and the gradients of those (as R1 needs them)."""
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            result = function(*inputs)
            total = tf.reduce_sum(tf.sin(result))
        first = tape.gradient(total, inputs)
        penalty = tf.add_n([tf.reduce_sum(tf.square(each)) for each in first])
    return [result, *first, *outer.gradient(penalty, inputs)]


def assert_close(found: Values, expected: Values) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("sides", [(4, 6), (8, 8), (7, 7)])
@pytest.mark.parametrize("channels", [(9, 11), (1, 9)])
def test_values_and_gradients_are_tensorflows(
    size: int, sides: tuple[int, int], channels: tuple[int, int]
) -> None:
    few, many = channels
    x = tf.random.stateless_normal([3, *sides, few], [1, size])
    y = tf.random.stateless_normal([3, *sides, many], [2, size])
    kernel = tf.random.stateless_normal([size, size, few, many], [3, size])
    assert_close(
        gradients(convolve, x, kernel),
        gradients(lambda x, kernel: tf.nn.conv2d(x, kernel, 2, "SAME"), x, kernel),
    )
    shape = [3, 2 * sides[0], 2 * sides[1], few]
    assert_close(
        gradients(convolve_transposed, y, kernel),
        gradients(lambda y, k: tf.nn.conv2d_transpose(y, k, shape, 2, "SAME"), y, kernel),
    )


def test_bfloat16_is_close_to_float32() -> None:
    x = tf.random.stateless_normal([3, 8, 8, 9], [1, 1])
    kernel = tf.random.stateless_normal([5, 5, 9, 11], [3, 1])
    whole = gradients(convolve, x, kernel)[:3]
    half = gradients(convolve, tf.cast(x, tf.bfloat16), tf.cast(kernel, tf.bfloat16))[:3]
    for one, other in zip(half, whole, strict=True):
        assert one.dtype == tf.bfloat16
        error = np.abs(tf.cast(one, tf.float32) - other).mean() / np.abs(other).mean()
        assert error < 0.1


def test_networks_for_training_on_a_cpu_have_them() -> None:
    networks = build_networks(small())
    assert isinstance(networks.discriminator.get_layer("conv_2"), FastConv2D)
    assert isinstance(networks.generator.get_layer("upsample_1"), FastConv2DTranspose)


@pytest.mark.live
@pytest.mark.parametrize("preset", ["notebook", "fashion"])
def test_after_40_steps_both_networks_are_those_of_tensorflows(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what they compute: a bias before batch normalization moves by rounding errors alone.

    Not more steps: on some processors an activation then comes so near to 0 that rounding decides
    its sign, and the runs part, as they do when one weight begins with another last bit.
    """
    spec = small(preset=preset)
    chunk = np.random.default_rng(0).integers(0, 256, (1, 40, 8, 28, 28, 1), np.uint8)
    latents = tf.random.stateless_normal([8, spec.model.generator.latent_size], [1, 2])

    def trained() -> Values:
        networks = build_networks(spec)
        call = build_train_call(spec, tf.distribute.get_strategy(), networks)
        call(tf.constant(chunk), tf.constant(0, tf.int64))
        images = networks.generator(latents, training=True)
        masks = [tf.ones(mask.shape[1:])[None] for mask in networks.discriminator.inputs[1:]]
        return [images, networks.discriminator([images, *masks])]

    fast = trained()
    monkeypatch.setattr(strided, "_MIN_CHANNELS", 10**6)
    for one, other in zip(fast, trained(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
