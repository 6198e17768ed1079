"""A run ends early once its best score is old enough, and only if the configuration says so."""

import pytest

from job.checkpoints.best import Best
from job.config.load import load_run
from job.training.early_stop import is_early_stop

REQUIRED = ["uri=a", "data.uri=b"]


@pytest.mark.parametrize(
    ("best", "step", "is_over"),
    [(None, 10_000, False), (Best(9.5, 500), 1499, False), (Best(9.5, 500), 1500, True)],
)
def test_a_run_ends_once_its_best_score_is_old(best: Best | None, step: int, is_over: bool) -> None:
    spec = load_run("notebook", overrides=[*REQUIRED, "quality.stop_after_steps=1000"])
    assert is_early_stop(spec, best, step) is is_over


def test_by_default_a_run_trains_to_its_last_step() -> None:
    spec = load_run("notebook", overrides=REQUIRED)
    assert not is_early_stop(spec, Best(9.5, 1), 10**9)
