"""Layers for the page's script, and directions among the latents."""

from pathlib import Path

import keras
import numpy as np
import pytest

from job.export.web_layers import latent_directions, web_layers
from tests.export.generators import source_of

pytestmark = pytest.mark.training


def test_every_layer_of_a_conditional_generator_has_a_kind(tmp_path: Path) -> None:
    generator = source_of(tmp_path, "subpixel of 3 classes").generator
    layers = web_layers(generator)
    assert [layer.kind for layer in layers] == [
        *("class", "dense", "reshape", "scale", "leaky_relu"),
        *("convolution", "reshape", "subpixel", "reshape", "scale", "leaky_relu"),
        *("convolution", "reshape", "subpixel", "reshape", "tanh"),
    ]
    assert layers[-1].shape == (32, 24, 3)
    scale, shift = layers[3].arrays
    images = np.random.default_rng(0).normal(size=(2, 8, 6, 8)).astype(np.float32)
    expected = generator.get_layer("project_norm")(images, training=False)
    assert np.abs(images * scale + shift - expected).max() < 1e-5


def test_the_first_direction_changes_the_first_layer_most(tmp_path: Path) -> None:
    generator = source_of(tmp_path, "subpixel of 3 classes").generator
    directions = latent_directions(generator, 6)
    assert directions.shape == (6, 100)
    assert np.abs(directions @ directions.T - np.eye(6)).max() < 1e-5
    kernel = generator.get_layer("project").kernel.numpy()[:100]
    changes = np.linalg.norm(directions @ kernel, axis=1)
    others = np.random.default_rng(0).normal(size=(50, 100))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert (np.diff(changes) < 1e-4).all()
    assert changes[0] > np.linalg.norm(others @ kernel, axis=1).max()


def test_a_layer_of_another_kind_is_rejected() -> None:
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.MaxPooling2D(name="pool")])
    with pytest.raises(TypeError, match="pool: MaxPooling2D is not a layer of our generators"):
        web_layers(model)
