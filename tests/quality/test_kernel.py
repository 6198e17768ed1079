"""The kernel distance against its definition, written out."""

import itertools

import numpy as np
import pytest

from job.quality import kernel as kernel_module
from job.quality.kernel import kernel_distance, squared_mmd


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return float((x @ y / len(x) + 1.0) ** 3)


def definition(x: np.ndarray, y: np.ndarray) -> float:
    return float(
        np.mean([kernel(a, b) for a, b in itertools.permutations(x, 2)])
        + np.mean([kernel(a, b) for a, b in itertools.permutations(y, 2)])
        - 2 * np.mean([kernel(a, b) for a in x for b in y])
    )


def test_it_is_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "_ROWS_AT_ONCE", 7)  # the sets are read in several blocks
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 4)), random.normal(0.5, 1.2, size=(45, 4))
    assert kernel_distance(x, y).mean == pytest.approx(definition(x, y))
    assert squared_mmd(y[:2], x) == pytest.approx(definition(y[:2], x))


def test_its_error_is_the_spread_over_other_images() -> None:
    random = np.random.default_rng(3)
    found = [
        kernel_distance(random.normal(size=(200, 4)), random.normal(0.5, 1.2, size=(200, 4)))
        for _ in range(60)
    ]
    spread = np.std([each.mean for each in found], ddof=1)
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.35)


def test_equal_distributions_are_unbiased_around_zero() -> None:
    random = np.random.default_rng(1)
    found = kernel_distance(random.normal(size=(1000, 8)), random.normal(size=(1000, 8)))
    assert abs(found.mean) < 5 * found.standard_error
    moved = kernel_distance(random.normal(size=(1000, 8)), random.normal(0.6, size=(1000, 8)))
    assert moved.mean > 10 * moved.standard_error > 0


@pytest.mark.slow
def test_the_seed_draws_the_subsets() -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(size=(1500, 4)), random.normal(size=(1500, 4))
    assert kernel_distance(x, y, seed=7) == kernel_distance(x, y, seed=7)
    other = kernel_distance(x, y, seed=8)
    assert other.standard_error != kernel_distance(x, y, seed=7).standard_error
    assert other.mean == kernel_distance(x, y, seed=7).mean


def test_few_rows_are_too_few() -> None:
    with pytest.raises(ValueError, match="19 rows of features; expected at least 20"):
        kernel_distance(np.ones((19, 3)), np.ones((90, 3)))
