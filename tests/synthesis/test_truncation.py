"""The truncation trick: a truncated normal distribution, number by number."""

import math

import numpy as np
import pytest
import tensorflow as tf

from job.synthesis.truncation import truncated

pytestmark = pytest.mark.training


@pytest.mark.parametrize("threshold", [0.1, 0.7, 2.0])
def test_numbers_follow_the_truncated_normal_distribution(threshold: float) -> None:
    """Mean and variance by the closed form; no number outside; the order stays."""
    normal = np.sort(np.random.default_rng(0).standard_normal(200_000)).astype(np.float32)
    found = truncated(tf.constant(normal), threshold).numpy().astype(float)
    assert np.abs(found).max() <= threshold + 1e-6
    assert (np.diff(found) >= 0).all()
    density = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * threshold * density / math.erf(threshold / math.sqrt(2))
    assert abs(found.mean()) < 0.01 * threshold
    assert found.var() == pytest.approx(variance, rel=0.01)


def test_far_numbers_stay_finite_and_a_wide_threshold_changes_nothing() -> None:
    normal = tf.constant([-40.0, -6.0, -1.0, 0.0, 1.0, 6.0, 40.0])
    cut = truncated(normal, 0.7).numpy()
    assert np.isfinite(cut).all()
    assert np.allclose(cut[[0, -1]], [-0.7, 0.7], atol=1e-5)
    assert np.allclose(truncated(normal, 50.0).numpy()[1:-1], normal.numpy()[1:-1], atol=1e-4)
