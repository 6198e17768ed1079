"""Series of the report: over steps, per step, and without the time to compile."""

import pytest

from job.report.curves import (
    milliseconds_per_step,
    seconds_trained,
    series,
    steady,
    training_clock,
)
from job.report.metric_history import MetricHistory
from job.run.metric_rows import Row

NAME = "dcgan_step_seconds_sum"


def row(attempt: str, number: int, phase: str, step: int, value: float) -> Row:
    time = f"2026-01-02T03:04:{number:02}.000Z"
    return Row(attempt, number, time, phase, step, {NAME: value})


ROWS = [
    row("a", 1, "compile", 0, 0.0),
    row("a", 2, "train", 20, 30.0),  # with the time to compile
    row("a", 3, "train", 40, 31.0),
    row("a", 5, "checkpoint", 40, 31.0),
    row("b", 1, "train", 60, 1.0),
    row("b", 9, "train", 70, 2.0),
]


def test_a_series_has_no_step_0_and_only_its_rows() -> None:
    assert series(ROWS, NAME)[:2] == [(20.0, 30.0), (40.0, 31.0)]
    assert series(ROWS, "dcgan_generator_loss") == []


def test_the_time_to_compile_is_left_out() -> None:
    assert [row.step for row in steady(ROWS)] == [40, 40, 60, 70]


def test_seconds_per_step_are_those_within_an_attempt() -> None:
    assert milliseconds_per_step(ROWS, NAME) == [
        (40.0, pytest.approx(50.0)),
        (70.0, pytest.approx(100.0)),
    ]


def test_the_time_of_all_attempts_is_summed() -> None:
    history = MetricHistory()
    for each in ROWS:
        history.add(each)
    assert seconds_trained(history) == 4 + 8


def test_the_time_up_to_a_row_has_no_pauses() -> None:
    history = MetricHistory()
    for each in [*ROWS[:4], row("b", 1, "train", 60, 1.0), row("b", 31, "train", 70, 2.0)]:
        history.add(each)
    assert list(map(training_clock(history), history.rows)) == [0, 1, 2, 4, 4, 34]
