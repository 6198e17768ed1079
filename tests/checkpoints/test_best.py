"""The best score in the metrics of a manifest."""

import pytest

from job.checkpoints.best import Best, best_of


def test_the_best_comes_back_from_the_metrics() -> None:
    best = Best(9.25, 1500)
    assert best_of({"generator_loss": 1.0, **best.to_metrics()}) == best


@pytest.mark.parametrize("metrics", [{}, {"best_step": 3.0}, {"frechet_distance": 2.0}])
def test_without_scores_there_is_no_best(metrics: dict[str, float]) -> None:
    assert best_of(metrics) is None
