"""The probability of adaptive augmentation: its pace, its limits, and its state."""

import numpy as np
import pytest
import tensorflow as tf

from job.gan import adaptive
from job.gan.adaptive import AdaptiveState, build_adaptive_state
from tests.gan.tiny import small

pytestmark = pytest.mark.training

ADAPTIVE = "training.augment.mode=adaptive"


def run(state: AdaptiveState, signs: list[float], *overrides: str, first: int = 0) -> list[float]:
    """Return the probability after each step."""
    spec, found = small(ADAPTIVE, *overrides), []
    for number, sign in enumerate(signs, start=first):
        adaptive.adjust(spec, state, tf.constant(sign), tf.constant(number, tf.int64))
        found.append(float(state.probability))
    return found


def test_the_probability_moves_every_four_steps_towards_the_target() -> None:
    """Batches of 8 and 320 images from 0 to 1: 0.1 for each four steps."""
    pace = "training.augment.adapt_images=320"
    state = build_adaptive_state()
    rising = run(state, [1.0] * 8, pace)
    np.testing.assert_allclose(rising, [0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.2], atol=1e-6)
    falling = run(state, [0.2] * 4 + [-1.0] * 8, pace, first=8)
    np.testing.assert_allclose(falling[3::4], [0.1, 0.0, 0.0], atol=1e-6)
    mixed = run(state, [1.0, 1.0, 0.2, -0.9], pace)  # the mean, 0.325, counts
    np.testing.assert_allclose(mixed[-1], 0.1, atol=1e-6)


def test_it_never_exceeds_1() -> None:
    assert run(build_adaptive_state(), [1.0] * 8, "training.augment.adapt_images=8")[-1] == 1.0


def test_the_state_of_any_step_continues_as_if_never_stopped() -> None:
    signs = [1.0, 0.2, 0.9, 0.8, 1.0, 0.3, 0.1, 0.9, 1.0, 1.0]
    pace = "training.augment.adapt_images=320"
    whole = run(build_adaptive_state(), signs, pace)
    for stop in range(1, len(signs)):
        state, again = build_adaptive_state(), build_adaptive_state()
        first = run(state, signs[:stop], pace)
        for variable, saved in zip(again, state, strict=True):
            variable.assign(saved)
        assert first + run(again, signs[stop:], pace, first=stop) == whole
