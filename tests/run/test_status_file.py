"""``status.json``: the last report, bounded curves, and the curves of earlier attempts."""

import itertools
import json
from typing import Any

import pytest

from job.run.status_file import MAX_POINTS, StatusFile
from tests.telemetry.step_reports import report

START = "20260102T030405Z-000"


def observed(status: StatusFile, *steps: int) -> StatusFile:
    for step in steps:
        status.observe(report(step=step, generator_loss=step / 3), 1767323045.0 + step, 20)
    return status


def document(status: StatusFile) -> dict[str, Any]:
    data = status.content()
    assert data is not None
    return json.loads(data)


def test_nothing_is_written_before_the_first_report() -> None:
    assert StatusFile(START, 30.0).content() is None


def test_the_last_report_is_shown_with_its_time() -> None:
    status = observed(StatusFile(START, 30.0), 20, 40)
    status.grid("samples/step-000000040.png")
    status.metrics_url("http://host:9100/metrics")
    status.values({"dcgan_step": 40})
    status.rolled_back()
    found = document(status)
    assert (found["start"], found["every_seconds"], found["rollbacks"]) == (START, 30.0, 1)
    assert (found["progress"]["step"], found["time"]) == (40, "2026-01-02T03:04:45Z")
    assert found["progress"]["seconds_left"] > 0
    assert found["report_seconds"] == 20.0
    assert found["grid"] == "samples/step-000000040.png"
    assert found["metrics_url"] == "http://host:9100/metrics"
    assert found["values"] == {"dcgan_step": 40}
    assert found["curves"]["step"] == [20, 40]
    assert found["curves"]["generator_loss"] == [6.667, 13.33]


def test_a_report_without_steps_keeps_the_times_of_the_one_before() -> None:
    status = observed(StatusFile(START, 30.0), 20)
    status.observe(report(step=20, phase="sample", step_seconds=0.0), 1767323066.0, 0)
    found = document(status)
    assert (found["progress"]["phase"], found["progress"]["step_seconds"]) == ("sample", 0.0176)
    assert found["curves"]["step"] == [20]
    status.observe(report(step=40, step_seconds=0.02), 1767323085.0, 20)
    assert document(status)["progress"]["step_seconds"] == 0.02


def test_the_time_of_a_checkpoint_is_that_of_its_report() -> None:
    status = StatusFile(START, 30.0)
    found = []
    for step, checkpoint_step in ((20, 10), (40, 30), (60, 30)):
        latest = report(step=step, checkpoint_step=checkpoint_step)
        status.observe(latest, 1767323045.0 + step, 20)
        found.append(document(status).get("checkpoint_time"))
    assert found == [None, "2026-01-02T03:04:45Z", "2026-01-02T03:04:45Z"]  # 10 is an earlier one


def test_a_long_attempt_has_a_bounded_number_of_points_over_all_of_it() -> None:
    steps = document(observed(StatusFile(START, 30.0), *range(1, 10_001)))["curves"]["step"]
    assert MAX_POINTS / 2 <= len(steps) <= MAX_POINTS
    gaps = {after - before for before, after in itertools.pairwise(steps)}
    assert (steps[0], len(gaps)) == (1, 1)
    assert steps[-1] > 9800


def test_a_roll_back_removes_the_points_after_it() -> None:
    found = document(observed(StatusFile(START, 30.0), 20, 40, 60, 40, 80))
    assert found["curves"]["step"] == [20, 40, 80]


def test_the_curves_of_earlier_attempts_end_where_this_one_begins() -> None:
    before = observed(StatusFile(START, 30.0), 20, 40, 60).content()
    assert before is not None
    status = StatusFile("20260102T030405Z-001", 30.0)
    status.resume_from(before)
    assert document(observed(status, 60, 80))["curves"]["step"] == [20, 40, 60, 80]
    late = observed(StatusFile("20260102T030405Z-001", 30.0), 50)
    late.resume_from(before)  # it arrives after the first report
    assert document(late)["curves"]["step"] == [20, 40, 50]
    restored = StatusFile("20260102T030405Z-001", 30.0)
    restored.observe(report(step=40), 1767323085.0, 0)  # before any step
    restored.resume_from(before)
    assert document(restored)["curves"]["step"] == [20, 40]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"curves": {"step": [1]}}',
        b'{"curves": {"step": [1, 2], "generator_loss": [1], "discriminator_loss": [1, 2]}}',
        b'{"curves": {"step": ["x"], "generator_loss": [1], "discriminator_loss": [1]}}',
        b"[" * 100_000,
    ],
)
def test_damaged_curves_are_left_out(data: bytes) -> None:
    status = StatusFile(START, 30.0)
    status.resume_from(data)
    assert document(observed(status, 20))["curves"]["step"] == [20]


def test_scores_are_kept_over_attempts_and_dropped_by_a_rollback() -> None:
    first = observed(StatusFile(START, 30.0), 20)
    for step, distance in ((500, 9.12345), (1000, 7.0), (1500, 6.0)):
        first.score(step, distance)
    second = StatusFile(START, 30.0)
    second.score(1500, 5.0)  # resumed from step 1,000
    second.resume_from(first.content())
    observed(second, 1020)
    assert document(second)["scores"] == {
        "step": [500, 1000, 1500],
        "frechet_distance": [9.123, 7.0, 5.0],
    }
    second.score(1000, 8.0)
    assert document(second)["scores"]["frechet_distance"] == [9.123, 8.0]
    for step in range(1001, 1001 + 2 * MAX_POINTS):
        second.score(step, 3.0)
    assert len(document(second)["scores"]["step"]) == MAX_POINTS


def test_a_status_without_scores_keeps_its_curves() -> None:
    """Written before there were scores."""
    before = document(observed(StatusFile(START, 30.0), 20, 40))
    del before["scores"]
    status = StatusFile(START, 30.0)
    status.resume_from(json.dumps(before).encode())
    assert document(observed(status, 60))["curves"]["step"] == [20, 40, 60]
