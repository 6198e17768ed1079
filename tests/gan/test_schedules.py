"""Values by images seen: half a cosine, the warm-up of the average, learning rates and beta_2."""

import math

import numpy as np
import pytest
import tensorflow as tf

from job.gan.networks import build_networks, generator_weights
from job.gan.schedules import Schedules
from job.gan.step import build_step
from tests.gan.tiny import at, images, small

pytestmark = pytest.mark.training


def step(number: int) -> tf.Tensor:
    return tf.constant(number, tf.int64)


def test_values_are_plain_numbers_without_a_schedule() -> None:
    schedules = Schedules(small("training.ema_decay=0.9"))
    assert schedules.gamma_factor(step(7)) == 1.0
    assert schedules.augment_probability(step(7)) == 1.0
    assert schedules.ema_decay(step(7)) == 0.9
    assert not schedules.is_on


@pytest.mark.parametrize(("number", "expected"), [(0, 1.0), (25, 0.853553), (50, 0.5), (100, 0)])
def test_half_a_cosine_over_the_images(number: int, expected: float) -> None:
    """Batches of 8: 800 images are 100 steps."""
    spec = small(
        "training.schedule.images=800",
        "training.augment.mode=fixed",
        "training.schedule.augment_probability=0",
    )
    found = float(Schedules(spec).augment_probability(step(number)))
    assert found == pytest.approx(expected, abs=1e-6)
    assert float(Schedules(spec).augment_probability(step(10_000))) == pytest.approx(0, abs=1e-6)


def test_half_of_the_average_is_older_than_the_half_life() -> None:
    spec = small("training.ema_half_life_images=80", "training.ema_warmup=0")
    assert Schedules(spec).ema_decay(step(3)) ** 10 == pytest.approx(0.5)


def test_the_half_life_is_a_share_of_the_images_seen_at_first() -> None:
    """The share is 1/4 of 8 images after the first step, and of 4,000 after step 499."""
    spec = small("training.ema_half_life_images=800", "training.ema_warmup=0.25")
    schedules = Schedules(spec)
    for number, half_life in ((0, 2), (99, 200), (499, 800), (10_000, 800)):
        expected = 0.5 ** (8 / half_life)
        assert float(schedules.ema_decay(step(number))) == pytest.approx(expected, rel=1e-5)


def test_a_half_life_wins_over_a_decay_and_follows_its_schedule() -> None:
    spec = small(
        "training.ema_decay=0.9",
        "training.ema_half_life_images=100",
        "training.ema_warmup=0",
        "training.schedule.images=80",
        "training.schedule.ema_half_life_images=300",
    )
    for number, half_life in ((0, 100), (5, 200), (10, 300)):
        found = float(Schedules(spec).ema_decay(step(number)))
        assert found == pytest.approx(0.5 ** (8 / half_life), rel=1e-5)


def test_optimizers_get_their_rates() -> None:
    spec = small(
        "training.generator_optimizer={name: adam, learning_rate: 0.004, beta_2: 0.9}",
        "training.discriminator_optimizer.learning_rate=0.002",  # RMSprop
        "training.schedule={images: 80, learning_rate_factor: 0.5, beta_2: 0.99}",
    )
    networks, schedules = build_networks(spec), Schedules(spec)
    for number, factor, beta_2 in ((0, 1.0, 0.9), (5, 0.75, 0.945), (10, 0.5, 0.99)):
        schedules.set_optimizers(networks, step(number))
        rates = [optimizer.learning_rate.numpy() for optimizer in networks[2:4]]
        np.testing.assert_allclose(rates, [0.004 * factor, 0.002 * factor], rtol=1e-5)
        assert float(networks.generator_optimizer.beta_2) == pytest.approx(beta_2, rel=1e-5)


def test_adam_uses_the_scheduled_beta_2() -> None:
    """After one step its second moment is (1 - beta_2) times the squared gradient."""
    moments = []
    for end in (0.9, 0.5):
        spec = small(
            "training.discriminator_optimizer={name: adam, beta_2: 0.9}",
            f"training.schedule={{images: 8, beta_2: {end}}}",
        )
        networks = build_networks(spec)
        Schedules(spec).set_optimizers(networks, step(1))
        build_step(spec, networks)(images(8), at(1))
        moments.append(networks.discriminator_optimizer._velocities[0].numpy())
    np.testing.assert_allclose(moments[1], 5 * moments[0], rtol=1e-4, atol=1e-12)


def test_the_average_of_a_step_uses_the_half_life() -> None:
    spec = small("training.ema_half_life_images=8", "training.ema_warmup=0", preset="fashion")
    networks = build_networks(spec)
    weights = generator_weights(networks.generator)
    before = [weight.numpy() for weight in weights]
    build_step(spec, networks)(images(8), at(0))
    for old, new, average in zip(before, weights, networks.ema, strict=True):
        np.testing.assert_allclose(average, (old + new.numpy()) / 2, rtol=1e-5, atol=1e-8)
    assert math.isclose(Schedules(spec).ema_decay(step(0)), 0.5)
