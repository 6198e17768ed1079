"""Noise by place: whichever replica asks, and at whatever place of the batch."""

import numpy as np
import pytest
import tensorflow as tf

from job.gan.streams import Purpose, normal_rows, uniform_rows

pytestmark = pytest.mark.training


def at(number: int) -> tf.Tensor:
    return tf.constant(number, tf.int64)


@pytest.mark.parametrize("rows", [normal_rows, uniform_rows])
@pytest.mark.parametrize("row_size", [1, 3, 64, 100])
def test_a_slice_of_the_batch_is_a_slice_of_the_noise(rows, row_size: int) -> None:
    whole = rows(7, Purpose.LATENTS_GENERATOR, at(5), at(0), 24, row_size).numpy()
    parts = [
        rows(7, Purpose.LATENTS_GENERATOR, at(5), at(first), 8, row_size).numpy()
        for first in (0, 8, 16)
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(whole)) > whole.size * 0.99  # no replica repeats another's


def test_seed_purpose_step_and_row_all_change_the_numbers() -> None:
    base = (7, Purpose.LATENTS_GENERATOR, 5, 0)
    others = [
        (8, *base[1:]),
        (7, Purpose.LATENTS_SAMPLES, 5, 0),
        (7, Purpose.LATENTS_GENERATOR, 6, 0),
        (7, Purpose.LATENTS_GENERATOR, 5, 1),
    ]
    drawn = [
        normal_rows(seed, purpose, at(step), at(first), 1, 100).numpy()
        for seed, purpose, step, first in (base, *others)
    ]
    for other in drawn[1:]:
        assert abs(np.corrcoef(drawn[0].ravel(), other.ravel())[0, 1]) < 0.4


def test_numbers_have_the_distribution_they_claim() -> None:
    normal = normal_rows(0, Purpose.LATENTS_GENERATOR, at(1), at(0), 1000, 100).numpy()
    uniform = uniform_rows(0, Purpose.FLIP, at(1), at(0), 1000, 100).numpy()
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
