"""Precision, recall, density and coverage: their definitions, and sets with a known answer."""

import numpy as np
import pytest

from job.quality import neighbours
from job.quality.neighbours import neighbourhood


def by_definition(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, ...]:
    def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - y[None], axis=2)

    radii = np.sort(distances(real, real), axis=1)[:, k]
    generated_radii = np.sort(distances(generated, generated), axis=1)[:, k]
    between = distances(real, generated)
    inside = between < radii[:, None]
    return (
        inside.any(axis=0).mean(),
        (between < generated_radii[None]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        (between.min(axis=1) < radii).mean(),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_the_definition(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", 7)  # the sets are read in several blocks
    random = np.random.default_rng(k)
    real, generated = random.normal(size=(60, 3)), random.normal(0.7, 0.8, size=(45, 3))
    assert neighbourhood(real, generated, k) == pytest.approx(by_definition(real, generated, k))


def test_one_mode_of_two_has_precision_and_half_of_the_coverage() -> None:
    random = np.random.default_rng(0)
    modes = np.concatenate([random.normal(size=(300, 4)), random.normal(100.0, size=(300, 4))])
    found = neighbourhood(modes, random.normal(size=(600, 4)))
    assert found.precision > 0.9
    assert 0.4 < found.coverage <= 0.5
    assert found.recall <= 0.5


def test_noise_far_away_has_none() -> None:
    random = np.random.default_rng(0)
    found = neighbourhood(random.normal(size=(50, 4)), random.normal(1000.0, size=(50, 4)))
    assert found == (0.0, 0.0, 0.0, 0.0)


def test_k_rows_are_too_few() -> None:
    with pytest.raises(ValueError, match="5 rows of features; expected more than 5"):
        neighbourhood(np.ones((5, 2)), np.ones((9, 2)))
