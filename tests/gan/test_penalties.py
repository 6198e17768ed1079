"""Gradient penalties: against a discriminator whose gradient is known, and on D itself."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.load import load_run
from job.config.spec import RunSpec
from job.gan.networks import Networks, build_networks
from job.gan.noise import StepNoise
from job.gan.penalties import Penalties, difference_squares, exact_squares
from job.gan.schedules import Schedules
from tests.gan.tiny import TINY_NETWORKS, at, small

pytestmark = pytest.mark.training

WEIGHT = tf.random.stateless_normal([28, 28, 1], [1, 1])


def quadratic(images: tf.Tensor) -> tf.Tensor:
    """The sum of w x^2 / 2, whose gradient is w x."""
    return 0.5 * tf.reduce_sum(WEIGHT * tf.square(images), axis=[1, 2, 3])


def normal(seed: int, count: int = 6) -> tf.Tensor:
    return tf.random.stateless_normal([count, 28, 28, 1], [seed, 7])


def penalties(*overrides: str) -> tuple[RunSpec, Networks, Penalties]:
    spec = small("model.discriminator.dropout=0", *overrides)
    networks = build_networks(spec)
    return spec, networks, Penalties(spec, networks.discriminator, Schedules(spec))


def loss(*overrides: str, step: int = 0, count: int = 8) -> float:
    spec, networks, own = penalties(*overrides)
    draws = own.draw(StepNoise(spec, networks, 0), at(step), count)
    real, fake = normal(1, count), normal(2, count)
    return float(own.loss(real, fake, ([], []), draws, tf.constant(step, tf.int64)))


def squares_of_d(images: tf.Tensor) -> np.ndarray:
    _, networks, _ = penalties()
    return np.asarray(exact_squares(lambda x: networks.discriminator([x]), images))


def test_exact_squares_are_those_of_the_known_gradient() -> None:
    expected = np.square(WEIGHT * normal(3)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(exact_squares(quadratic, normal(3)), expected, rtol=1e-5)


def test_finite_differences_have_the_exact_squares_as_mean() -> None:
    images = tf.repeat(normal(3, 1), 4000, axis=0)
    estimates = difference_squares(quadratic, images, normal(4, 4000))
    exact = float(exact_squares(quadratic, images[:1])[0])
    assert abs(float(tf.reduce_mean(estimates)) / exact - 1) < 0.1  # standard error: 2.2 %


@pytest.mark.parametrize(("key", "seed"), [("r1_gamma", 1), ("r2_gamma", 2)])
def test_r1_is_at_real_and_r2_at_fake_images(key: str, seed: int) -> None:
    found = loss(f"training.objective.{key}=3")
    np.testing.assert_allclose(found, 3 / 2 * squares_of_d(normal(seed, 8)).mean(), rtol=1e-5)


def test_both_are_added() -> None:
    both = loss("training.objective.r1_gamma=3", "training.objective.r2_gamma=5")
    r1, r2 = (squares_of_d(normal(seed, 8)).mean() for seed in (1, 2))
    np.testing.assert_allclose(both, (3 * r1 + 5 * r2) / 2, rtol=1e-5)


def test_a_lazy_penalty_is_due_every_k_steps_and_counts_k_times() -> None:
    every = "training.objective.penalty_every=4"
    once = loss("training.objective.r1_gamma=1")
    for step in range(9):
        expected = 4 * once if step % 4 == 0 else 0
        found = loss("training.objective.r1_gamma=1", every, step=step)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_penalty_between_images_wants_a_gradient_of_norm_1() -> None:
    spec, networks, own = penalties("training.objective.gradient_penalty=10")
    draws = own.draw(StepNoise(spec, networks, 0), at(2), 8)
    assert draws.position is not None
    position = draws.position.numpy()
    assert (position >= 0).all()
    assert (position < 1).all()
    assert len(np.unique(position)) == 8
    between = position * normal(1, 8) + (1 - position) * normal(2, 8)
    expected = 10 * np.square(np.sqrt(squares_of_d(tf.constant(between))) - 1).mean()
    np.testing.assert_allclose(
        loss("training.objective.gradient_penalty=10", step=2), expected, rtol=1e-4
    )


def test_gamma_follows_its_schedule() -> None:
    """Half of 80 images, in batches of 8, are seen at step 5."""
    schedule = "training.schedule.images=80", "training.schedule.gamma_factor=0.5"
    whole = loss("training.objective.r1_gamma=1")
    for step, factor in ((0, 1.0), (5, 0.75), (10, 0.5), (99, 0.5)):
        found = loss("training.objective.r1_gamma=1", *schedule, step=step)
        np.testing.assert_allclose(found, factor * whole, rtol=1e-5)


def test_the_gradient_is_for_the_discriminator_alone() -> None:
    spec, networks, own = penalties("training.objective.r2_gamma=1")
    fake, draws = normal(2, 8), own.draw(StepNoise(spec, networks, 0), at(0), 8)
    weights = [weight.value for weight in networks.discriminator.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(fake)
        value = own.loss(normal(1, 8), fake, ([], []), draws, tf.constant(0, tf.int64))
    assert tape.gradient(value, fake) is None
    kernels = tape.gradient(value, weights)[::2]
    assert all(float(tf.norm(gradient)) > 0 for gradient in kernels)


def test_auto_must_be_a_number_by_now() -> None:
    spec = load_run("fashion", overrides=["uri=runs", "data.uri=data", *TINY_NETWORKS])
    assert spec.training.objective.r1_gamma == "auto"
    with pytest.raises(ValueError, match="gamma is auto"):
        Penalties(spec, build_networks(spec).discriminator, Schedules(spec))
