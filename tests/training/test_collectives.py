"""Named integers summed over the workers; ``test_group`` has several workers."""

import pytest
import tensorflow as tf

from job.training.collectives import MAX_VALUES, Collectives

pytestmark = pytest.mark.training


def collectives(*, is_chief: bool) -> Collectives:
    return Collectives(tf.distribute.get_strategy(), is_chief=is_chief)


def test_the_sum_over_one_worker_is_its_values_by_name() -> None:
    values = {"last": 2**62, "first": -3, "zero": 0}
    assert collectives(is_chief=False).sum_over_workers(**values) == values


def test_only_the_chiefs_values_are_broadcast() -> None:
    assert collectives(is_chief=True).broadcast_from_chief(step=7) == {"step": 7}
    assert collectives(is_chief=False).broadcast_from_chief(step=7) == {"step": 0}


def test_more_values_than_one_operation_has_are_rejected() -> None:
    names = [f"value_{number}" for number in range(MAX_VALUES + 1)]
    with pytest.raises((TypeError, ValueError)):
        collectives(is_chief=True).sum_over_workers(**dict.fromkeys(names, 1))
