"""Goodput over attempts, of rows whose times are known."""

import pytest

from job.report.goodput import read_goodput
from job.report.metric_history import MetricHistory
from job.run.attempts import AttemptRecord
from job.run.metric_rows import Row

FIRST, SECOND = "20260102T030000Z", "20260102T040000Z"


def row(attempt: str, number: int, time: str, step: int, seconds: float) -> Row:
    values = {"dcgan_step_seconds_sum": seconds}
    return Row(attempt, number, f"2026-01-02T{time}.000Z", "train", step, values)


def record(stamp: str, ended: str | None = None) -> AttemptRecord:
    end = {"outcome": "done", "time": f"2026-01-02T{ended}+00:00"} if ended else None
    return AttemptRecord(stamp, {"end": end} if end else {})


def history(*rows: Row) -> MetricHistory:
    found = MetricHistory()
    for each in rows:
        found.add(each)
    return found


def test_one_attempt() -> None:
    rows = history(row(f"{FIRST}-000", 1, "03:00:30", 20, 5.0))
    rows.add(row(f"{FIRST}-000", 2, "03:01:30", 100, 75.0))
    assert read_goodput([record(FIRST, "03:01:40")], rows) == pytest.approx(75 / 100)


def test_steps_that_are_trained_again_count_once_and_waiting_for_the_user_does_not() -> None:
    rows = history(
        row(f"{FIRST}-000", 1, "03:00:50", 50, 40.0),
        row(f"{FIRST}-000", 2, "03:01:40", 100, 80.0),  # lost: the checkpoint is of step 50
        row(f"{FIRST}-001", 1, "03:03:20", 90, 35.0),  # the workers restarted at step 50
        row(f"{SECOND}-000", 1, "04:01:40", 200, 90.0),  # the program was killed and started again
    )
    seconds = 200 + 100
    assert read_goodput([record(FIRST), record(SECOND)], rows) == pytest.approx(
        (40 + 35 + 90) / seconds
    )


def test_nothing_is_known() -> None:
    assert read_goodput([], history()) is None
    assert read_goodput([record(FIRST)], history()) is None
    assert read_goodput([record(FIRST, "yesterday")], history()) is None
