"""A fingerprint changes with the kind and with any weight."""

import keras
import pytest

from job.quality.fingerprint import fingerprint

pytestmark = pytest.mark.training


def test_it_changes_with_the_kind_and_any_weight() -> None:
    images = keras.Input((3,))
    model = keras.Model(images, keras.layers.Dense(2, kernel_initializer="ones")(images))
    first = fingerprint("a", model)
    assert fingerprint("a", model) == first
    assert len(first) == 64
    assert fingerprint("b", model) != first
    for variable in model.variables:
        before = variable.numpy()
        changed = before.copy()
        changed.flat[-1] += 1e-3
        variable.assign(changed)
        assert fingerprint("a", model) != first
        variable.assign(before)
    assert fingerprint("a", model) == first
