"""The discriminator: the notebook's layers, and dropout masks as an input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.config.load import load_run
from job.gan.discriminator import build_discriminator, dropout_masks
from job.gan.streams import Purpose
from tests.gan.tiny import at, small

pytestmark = pytest.mark.training


def test_the_notebooks_discriminator_has_its_weights_and_a_mask_per_convolution() -> None:
    model = load_run("notebook", overrides=["uri=a", "data.uri=b"]).model
    discriminator = build_discriminator(model, 0)
    assert discriminator.count_params() == (25 * 64 + 64) + (25 * 64 * 128 + 128) + (
        7 * 7 * 128 + 1
    )
    assert [tuple(mask.shape[1:]) for mask in discriminator.inputs[1:]] == [
        (14, 14, 64),
        (7, 7, 128),
    ]


def test_dropout_masks_are_a_function_of_the_sample() -> None:
    discriminator = build_discriminator(small().model, 0)
    whole = dropout_masks(discriminator, 0.3, 1, Purpose.DROPOUT_FAKE, *at(9).place, 8)
    second_half = dropout_masks(discriminator, 0.3, 1, Purpose.DROPOUT_FAKE, *at(9, 4).place, 4)
    for a, b in zip(whole, second_half, strict=True):
        assert np.array_equal(a[4:], b)
        assert set(np.unique(a)) == {np.float32(0), np.float32(1 / 0.7)}
        assert abs(float(tf.reduce_mean(tf.cast(a == 0, tf.float32))) - 0.3) < 0.03


def test_a_mask_of_zeros_hides_a_convolution() -> None:
    discriminator = build_discriminator(small().model, 0)
    real = tf.random.stateless_normal([2, 28, 28, 1], [1, 2])
    ones, zeros = ([fill([2, *mask.shape[1:]]) for mask in discriminator.inputs[1:]]
                   for fill in (tf.ones, tf.zeros))  # fmt: skip
    bias = discriminator.get_layer("logit").bias.numpy()
    assert np.array_equal(discriminator([real, ones[0], zeros[1]]), np.repeat(bias, 2))
    assert not np.isin(bias, discriminator([real, *ones])).any()


def test_the_first_convolution_is_not_normalized() -> None:
    model = small("model.discriminator.normalize=true", "model.discriminator.dropout=0").model
    names = [layer.name for layer in build_discriminator(model, 0).layers]
    assert [name for name in names if name.endswith("_norm")] == ["conv_2_norm"]


def test_the_logit_of_a_class_adds_its_projection() -> None:
    """Check logit(x, y) = linear(phi) + <v_y, phi>, phi being the flattened last map."""
    discriminator = build_discriminator(small().model, 0, num_classes=3)
    real = tf.random.stateless_normal([4, 28, 28, 1], [1, 2])
    masks = [tf.ones([4, *mask.shape[1:]]) for mask in discriminator.inputs[1:-1]]
    labels = tf.constant([0, 2, 1, 2])
    inside = keras.Model(discriminator.inputs, discriminator.get_layer("flat").output)
    phi = inside([real, *masks, labels]).numpy()
    weights = {weight.path: weight.numpy() for weight in discriminator.weights}
    v = weights["projection/kernel"].T
    assert v.shape == (3, 7 * 7 * 16)
    linear = phi @ weights["logit/kernel"][:, 0] + weights["logit/bias"]
    wanted = linear + (v[labels.numpy()] * phi).sum(axis=1)
    np.testing.assert_allclose(discriminator([real, *masks, labels]), wanted, rtol=1e-4, atol=1e-5)


def test_labels_are_not_dropped_out() -> None:
    discriminator = build_discriminator(small().model, 0, num_classes=3)
    assert [tensor.name for tensor in discriminator.inputs] == [
        "images",
        "mask_1",
        "mask_2",
        "label",
    ]
    masks = dropout_masks(discriminator, 0.3, 1, Purpose.DROPOUT_FAKE, *at(9).place, 8)
    assert [mask.shape[1:] for mask in masks] == [t.shape[1:] for t in discriminator.inputs[1:3]]
