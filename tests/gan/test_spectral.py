"""Spectral normalization against a singular value decomposition, and what it leaves unchanged."""

import numpy as np
import pytest
import tensorflow as tf

from job.gan.discriminator import build_discriminator
from job.gan.networks import build_networks, moving_statistics
from job.gan.spectral import SpectralConv2D, SpectralDense, normalized
from job.gan.step import build_step
from tests.gan.tiny import at, images, small

pytestmark = pytest.mark.training

SPECTRAL = "model.discriminator.spectral_norm=true"


def trained_layer(iterations: int = 200) -> SpectralDense:
    layer = SpectralDense(7, kernel_initializer=tf.random_normal_initializer(seed=1))
    for _ in range(iterations):
        layer(tf.ones([1, 5]), training=True)
    return layer


def test_the_largest_singular_value_becomes_1() -> None:
    layer = trained_layer()
    weights = layer.kernel.numpy()
    sigma = np.linalg.svd(weights, compute_uv=False)[0]
    found = normalized(layer.kernel.value, layer.singular_vector, training=False)
    np.testing.assert_allclose(found, weights / sigma, rtol=1e-4)


def test_the_gradient_is_that_of_the_paper() -> None:
    """Equation 9: (dL/dW' - <dL/dW', W'> u v^T) / sigma."""
    layer = trained_layer()
    weights, slope = layer.kernel.numpy(), np.random.default_rng(2).normal(size=(5, 7))
    with tf.GradientTape() as tape:
        kernel = normalized(layer.kernel.value, layer.singular_vector, training=False)
        value = tf.reduce_sum(kernel * tf.constant(slope, tf.float32))
    left, singular, right = np.linalg.svd(weights, full_matrices=False)
    normal = weights / singular[0]
    expected = (slope - (slope * normal).sum() * np.outer(left[:, 0], right[0])) / singular[0]
    np.testing.assert_allclose(
        tape.gradient(value, layer.kernel.value), expected, rtol=1e-3, atol=1e-5
    )


def test_only_training_moves_the_vector() -> None:
    layer = trained_layer(1)
    before = layer.singular_vector.numpy()
    layer(tf.ones([1, 5]), training=False)
    assert np.array_equal(layer.singular_vector, before)
    layer(tf.ones([1, 5]), training=True)
    assert not np.array_equal(layer.singular_vector, before)


def test_a_convolution_is_that_of_the_normalized_kernel() -> None:
    layer = SpectralConv2D(3, 5, strides=2, padding="same", bias_initializer="ones")
    x = tf.random.stateless_normal([2, 9, 8, 4], [1, 2])
    for _ in range(200):
        found = layer(x, training=True)
    kernel = normalized(layer.kernel.value, layer.singular_vector, training=False)
    np.testing.assert_allclose(found, tf.nn.conv2d(x, kernel, 2, "SAME") + 1, rtol=1e-4, atol=1e-5)


def test_the_vectors_are_statistics_of_the_discriminator() -> None:
    networks = build_networks(small(SPECTRAL))
    statistics = {id(statistic) for statistic in moving_statistics(networks)}
    variables = networks.discriminator.non_trainable_variables
    names = [v.path for v in variables if id(v.value) in statistics]
    assert names == [f"{layer}/singular_vector" for layer in ("conv_1", "conv_2", "logit")]
    plain = build_discriminator(small().model, 0)
    trained = [v.path for v in networks.discriminator.trainable_variables]
    assert trained == [v.path for v in plain.trainable_variables]


def test_a_step_updates_every_vector_and_keeps_the_kernels_of_the_optimizer() -> None:
    spec = small(SPECTRAL, "training.precision=bfloat16", preset="fashion")
    networks = build_networks(spec)
    before = [v.numpy() for v in networks.discriminator.non_trainable_variables]
    metrics = build_step(spec, networks)(images(8), at(0))
    assert np.isfinite(metrics).all()
    after = networks.discriminator.non_trainable_variables
    for old, new in zip(before[:-1], after[:-1], strict=True):  # that of one logit is always 1
        assert not np.array_equal(old, new)
        np.testing.assert_allclose(np.linalg.norm(new), 1, rtol=1e-4)
        assert new.dtype == "float32"
