"""All scores together: better images have better ones, and other bases are not compared."""

import dataclasses

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.quality.frechet import frechet_distance, moments
from job.quality.kernel import kernel_distance
from job.quality.neighbours import neighbourhood
from job.quality.scores import Basis, check_comparable, score

BASIS = Basis("classifier", "a" * 64, "b" * 64, 200, 200)


def features(seed: int, mean: float = 0.0, num: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, size=(num, 4)).astype(np.float32)


def test_it_is_each_score() -> None:
    real, generated = features(0), features(1, 0.4)
    found = score(real, generated, seed=3)
    assert found.frechet_distance == frechet_distance(moments(real), moments(generated))
    assert (found.kernel_distance, found.kernel_error) == kernel_distance(real, generated, 3)
    near = neighbourhood(real, generated)
    assert (found.precision, found.recall, found.density, found.coverage) == near


def test_the_interval_holds_the_distance_of_other_images() -> None:
    """At least 85 of 100 other sets are inside, and fewer are inside half of it."""
    real = features(0)
    low, high = score(real, features(1, 0.5)).frechet_interval
    others = [frechet_distance(moments(real), moments(features(n, 0.5))) for n in range(100)]
    middle = np.mean(others)
    width = (high - low) / 2
    inside = np.abs(np.array(others) - middle)
    assert (inside < width).mean() >= 0.85
    assert (inside < width / 2).mean() < 0.85


def test_the_seed_decides_all_of_it() -> None:
    real, generated = features(0), features(1, 0.4)
    assert score(real, generated, 1) == score(real, generated, 1)
    assert score(real, generated, 1).frechet_interval != score(real, generated, 2).frechet_interval


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "inception"}, "features classifier, b.json has inception"),
        ({"features_fingerprint": "c" * 64}, "a{16}, b.json has c{16}"),
        ({"real_fingerprint": "c" * 64}, "real_fingerprint b{16}, b.json has c{16}"),
        ({"num_generated": 100}, "num_generated 200, b.json has 100"),
    ],
)
def test_scores_of_another_basis_are_not_compared(change: dict, message: str) -> None:
    check_comparable(("a.json", BASIS), ("b.json", dataclasses.replace(BASIS)))
    with pytest.raises(ConfigError, match=message):
        check_comparable(("a.json", BASIS), ("b.json", dataclasses.replace(BASIS, **change)))
