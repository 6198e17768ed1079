"""Each objective against its paper's formula, its gradients, and the ratio of simultaneous updates.

Formulas are written with numpy here and differentiated by central differences in float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from job.gan.discriminator import build_discriminator
from job.gan.objectives.hinge import hinge
from job.gan.objectives.least_squares import least_squares
from job.gan.objectives.non_saturating import non_saturating
from job.gan.objectives.objective import Objective
from job.gan.objectives.relativistic import relativistic
from job.gan.objectives.wasserstein import wasserstein
from tests.gan.tiny import small

pytestmark = pytest.mark.training

REAL = np.float64([-5.0, -1.2, 0.1, 0.5, 3.0])
FAKE = np.float64([2.0, -2.0, 0.3, -0.5, 0.7])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Formula(NamedTuple):
    """An objective, and the sum of D's terms and G's loss as its paper has them."""

    objective: Objective
    discriminator: Callable[[np.ndarray, np.ndarray], np.ndarray]
    generator: Callable[[np.ndarray, np.ndarray], np.ndarray]


FORMULAS = {
    "non-saturating": Formula(
        non_saturating(),
        lambda r, f: -np.log(sigmoid(r)) - np.log(1 - sigmoid(f)),
        lambda r, f: -np.log(sigmoid(f)),
    ),
    "smoothed": Formula(
        non_saturating(0.9),
        lambda r, f: (
            -0.9 * np.log(sigmoid(r)) - 0.1 * np.log(1 - sigmoid(r)) - np.log(1 - sigmoid(f))
        ),
        lambda r, f: -np.log(sigmoid(f)),
    ),
    "relativistic": Formula(
        relativistic(),
        lambda r, f: np.log(1 + np.exp(-(r - f))),
        lambda r, f: np.log(1 + np.exp(-(f - r))),
    ),
    "hinge": Formula(
        hinge(), lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f), lambda r, f: -f
    ),
    "least squares": Formula(
        least_squares(), lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2
    ),
    "wasserstein": Formula(wasserstein(), lambda r, f: f - r, lambda r, f: -f),
}
WITH_RATIO = [name for name, formula in FORMULAS.items() if formula.objective.fake_gradient_ratio]


def slopes(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Return the derivatives by the real and by the fake logits."""
    h = 1e-5
    return [
        (function(REAL + h, FAKE) - function(REAL - h, FAKE)) / (2 * h),
        (function(REAL, FAKE + h) - function(REAL, FAKE - h)) / (2 * h),
    ]


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_are_those_of_the_formula(name: str) -> None:
    objective, discriminator, generator = FORMULAS[name]
    real, fake = tf.constant(REAL, tf.float32), tf.constant(FAKE, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((real, fake))
        d_loss = tf.add_n(objective.discriminator_terms(real, fake))
        g_loss = objective.generator_loss(real, fake)
    for loss, formula in ((d_loss, discriminator), (g_loss, generator)):
        np.testing.assert_allclose(loss, formula(REAL, FAKE), rtol=1e-5, atol=1e-6)
        found = tape.gradient(loss, [real, fake], unconnected_gradients="zero")
        np.testing.assert_allclose(found, slopes(formula), rtol=1e-4, atol=1e-5)
    by_real = tape.gradient(g_loss, real, unconnected_gradients="zero")
    assert objective.uses_pairs == bool(np.abs(by_real).max() > 0)


@pytest.mark.parametrize("name", FORMULAS)
def test_no_logit_overflows(name: str) -> None:
    objective = FORMULAS[name].objective
    real, fake = tf.constant([-1e4, 1e4, 1e4]), tf.constant([1e4, -1e4, 1e4])
    values = [*objective.discriminator_terms(real, fake), objective.generator_loss(real, fake)]
    if objective.fake_gradient_ratio:
        values.append(objective.fake_gradient_ratio(real, fake))
    assert np.isfinite(values).all()


def test_simultaneous_updates_are_for_these_objectives() -> None:
    assert WITH_RATIO == ["non-saturating", "smoothed", "relativistic", "wasserstein"]


@pytest.mark.parametrize("name", WITH_RATIO)
def test_one_backward_pass_gives_both_gradients_at_the_fakes(name: str) -> None:
    objective = FORMULAS[name].objective
    discriminator = build_discriminator(small("model.discriminator.dropout=0").model, 0)
    real, fake = (tf.random.stateless_normal([6, 28, 28, 1], [3, seed]) * 4 for seed in (4, 5))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(fake)
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        d_loss = tf.reduce_sum(tf.add_n(objective.discriminator_terms(real_logits, fake_logits)))
        g_loss = tf.reduce_sum(objective.generator_loss(real_logits, fake_logits))
    ratio = objective.fake_gradient_ratio
    assert ratio is not None
    scaled = tape.gradient(d_loss, fake) * ratio(real_logits, fake_logits)[:, None, None, None]
    np.testing.assert_allclose(
        scaled, tape.gradient(g_loss, fake), rtol=1e-4, atol=1e-7
    )  # entries near 0 are sums that cancel


@pytest.mark.parametrize(
    ("objective", "border"), [(non_saturating(), 0), (hinge(), 0), (least_squares(), 0.5)]
)
def test_a_real_image_is_taken_for_real_above_the_border(
    objective: Objective, border: float
) -> None:
    sign = objective.overfitting_sign
    assert sign is not None
    logits = tf.constant([border - 0.1, border, border + 0.1])
    assert np.array_equal(sign(logits, tf.zeros(3)), [-1, 0, 1])


def test_differences_of_logits_have_no_border() -> None:
    assert relativistic().overfitting_sign is wasserstein().overfitting_sign is None
