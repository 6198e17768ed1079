"""Latent vectors by place in the global batch, and those of the sample grids."""

import numpy as np
import pytest

from job.gan.latents import fixed_latents, sample_latents
from job.gan.streams import Purpose
from tests.gan.tiny import at

pytestmark = pytest.mark.training


def test_replicas_together_draw_the_latents_of_one() -> None:
    parts = [
        sample_latents(3, Purpose.LATENTS_GENERATOR, *at(5, first).place, 4, 10) for first in (0, 4)
    ]
    whole = sample_latents(3, Purpose.LATENTS_GENERATOR, *at(5).place, 8, 10)
    assert np.array_equal(np.concatenate(parts), whole)


def test_grids_have_fixed_latents_that_no_step_trains_on() -> None:
    fixed = fixed_latents(3, 4, 10)
    assert np.array_equal(fixed, fixed_latents(3, 6, 10)[:4])
    assert not np.array_equal(fixed, fixed_latents(4, 4, 10))
    for purpose in (Purpose.LATENTS_GENERATOR, Purpose.LATENTS_DISCRIMINATOR):
        assert not np.isin(fixed, sample_latents(3, purpose, *at(0).place, 4, 10)).any()
