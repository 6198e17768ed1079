"""Checkpoints by outcome, their stages, and the age of the last one."""

import pytest

from job.telemetry.checkpoint_metrics import STAGES
from job.telemetry.metrics import WorkerMetrics
from tests.telemetry.step_reports import report
from tests.telemetry.test_metrics import Clock, clock, metrics, value

__all__ = ["clock", "metrics"]


def test_the_age_of_the_checkpoint_is_taken_at_the_scrape(
    metrics: WorkerMetrics, clock: Clock
) -> None:
    clock.seconds = 107.0
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 7.0
    metrics.checkpoints.ended(1200, 3.2, "committed")
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 0.0
    clock.seconds = 167.0
    metrics.checkpoints.ended(1300, 9.0, "failed")
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 60.0


def test_checkpoints_are_counted_by_outcome_and_only_committed_ones_are_timed(
    metrics: WorkerMetrics,
) -> None:
    metrics.checkpoints.ended(1200, 3.2, "committed")
    metrics.checkpoints.ended(1300, 99.0, "failed", reason="timeout")
    assert value(metrics, "dcgan_checkpoints_total", outcome="committed") == 1
    assert value(metrics, "dcgan_checkpoints_total", outcome="failed") == 1
    assert value(metrics, "dcgan_checkpoint_last_step") == 1200
    assert value(metrics, "dcgan_checkpoint_seconds_count") == 1
    assert value(metrics, "dcgan_checkpoint_seconds_sum") == 3.2
    assert value(metrics, "dcgan_checkpoint_failures_total", reason="timeout") == 1
    assert value(metrics, "dcgan_checkpoint_failures_total", reason="refused") == 0


def test_a_committed_checkpoint_says_where_its_time_went(metrics: WorkerMetrics) -> None:
    metrics.checkpoints.ended(
        1200, 3.2, "committed", stages={"pack": 0.2, "upload": 2.5, "commit": 0.5}
    )
    metrics.checkpoints.ended(
        1300, 1.3, "committed", stages={"pack": 0.3, "upload": 0.5, "commit": 0.5}
    )
    seconds = {
        stage: value(metrics, "dcgan_checkpoint_stage_seconds_total", stage=stage)
        for stage in STAGES
    }
    assert seconds == {"pack": 0.5, "upload": 3.0, "commit": 1.0}


def test_an_unknown_outcome_is_refused(metrics: WorkerMetrics) -> None:
    with pytest.raises(
        ValueError, match="outcome is 'lost'; expected one of committed, skipped, failed"
    ):
        metrics.checkpoints.ended(1, 1.0, "lost")  # type: ignore[arg-type]


def test_a_worker_that_does_not_save_learns_of_checkpoints_from_reports(
    metrics: WorkerMetrics, clock: Clock
) -> None:
    clock.seconds = 150.0
    metrics.observe(report(checkpoint_step=1000), num_steps=1)  # the one it resumed from
    assert value(metrics, "dcgan_checkpoint_last_step") == 1000
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 50.0
    metrics.observe(report(checkpoint_step=1200), num_steps=1)
    assert value(metrics, "dcgan_checkpoint_last_step") == 1200
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 0.0
    clock.seconds = 160.0
    metrics.observe(report(checkpoint_step=1200), num_steps=1)
    assert value(metrics, "dcgan_checkpoint_age_seconds") == 10.0
