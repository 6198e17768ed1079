"""The random numbers of a step: flips of images, and masks that no two purposes share."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.networks import build_networks
from job.gan.noise import StepNoise
from job.gan.streams import Purpose
from tests.gan.tiny import at, images, small

pytestmark = pytest.mark.training


def noise(spec: RunSpec, stream: int = 0) -> StepNoise:
    return StepNoise(spec, build_networks(spec), stream)


def test_a_flip_mirrors_some_images_by_their_place_in_the_batch() -> None:
    real, flipping = tf.cast(images(64), tf.float32), noise(small("data.horizontal_flip=true"))
    flipped = flipping.flip(real, at(3)).numpy()
    mirrored = real.numpy()[:, :, ::-1]
    is_mirrored = np.array([np.array_equal(*pair) for pair in zip(flipped, mirrored, strict=True)])
    assert 16 < is_mirrored.sum() < 48
    expected = np.where(is_mirrored[:, None, None, None], mirrored, real)
    assert np.array_equal(flipped, expected)
    assert np.array_equal(flipping.flip(real[32:], at(3, 32)), flipped[32:])


def test_images_are_not_flipped_by_default() -> None:
    real = tf.cast(images(8), tf.float32)
    assert np.array_equal(noise(small()).flip(real, at(3)), real)


def test_real_and_fake_images_have_other_masks() -> None:
    fake, real = noise(small()).both_masks(at(3), 8)
    assert [mask.shape for mask in fake] == [mask.shape for mask in real]
    for a, b in zip(fake, real, strict=True):
        assert 0.3 < np.mean(np.equal(a, b)) < 0.8  # as chance has it: 0.7^2 + 0.3^2


def test_another_stream_has_other_latents_and_stream_0_is_the_seed_alone() -> None:
    purpose = Purpose.LATENTS_GENERATOR
    first, second, other_seed = (
        noise(small(f"seed={seed}"), stream).latents(purpose, at(0), 8).numpy()
        for seed, stream in ((0, 0), (0, 1), (1, 0))
    )
    assert len({drawn.tobytes() for drawn in (first, second, other_seed)}) == 3
