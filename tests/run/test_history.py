"""The rows that a run writes: when, with which names and values, in which segments."""

import json
from pathlib import Path

import pytest

from job.report.metric_history import read_metrics
from job.run.layout import METRICS_SEGMENTS
from job.run.segments import SEGMENT_BYTES
from job.storage.store import ObjectStore
from job.telemetry.series import current_values
from tests.report.runs import CALL, Clock, started
from tests.run.stored import FIRST, stored_rows
from tests.telemetry.step_reports import report

ROOT = Path(__file__).parents[2]


def test_rows_are_written_at_the_first_call_checkpoints_the_end_and_intervals(
    folder: ObjectStore,
) -> None:
    with started(folder, FIRST, 0, Clock(), every_seconds=10.0) as course:
        course.train(1110, checkpoint_every=300)  # a call of 20 steps takes 1 s
    found = [(row["phase"], row["step"]) for row in stored_rows(folder, METRICS_SEGMENTS)]
    assert found == [
        ("compile", 0),
        ("train", 20),
        ("train", 220),
        ("checkpoint", 300),
        ("train", 500),
        ("checkpoint", 600),
        ("train", 800),
        ("checkpoint", 900),
        ("train", 1100),
        ("train", 1120),
    ]
    assert [row["row"] for row in stored_rows(folder, METRICS_SEGMENTS)] == list(range(1, 11))
    assert {row["start"] for row in stored_rows(folder, METRICS_SEGMENTS)} == {f"{FIRST}-000"}
    assert stored_rows(folder, METRICS_SEGMENTS)[1]["time"] == "2026-01-02T03:00:01.000Z"


def test_a_row_has_the_names_and_values_that_prometheus_has(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(40)
        values = current_values(course.metrics.registry)
    last = stored_rows(folder, METRICS_SEGMENTS)[-1]
    assert last["dcgan_step"] == last["step"] == 40
    assert {
        "dcgan_discriminator_loss",
        "dcgan_images_per_second",
        "dcgan_step_seconds_sum",
        "dcgan_checkpoint_last_step",
    } <= values.keys()
    for name, value in values.items():
        if "age" not in name and not name.startswith("process"):
            assert last[name] == pytest.approx(value, rel=1e-5), name
    assert not [
        name for name in last if name.endswith("_bucket") or "rank=" in name or "run=" in name
    ]


def test_numbers_that_are_not_finite_are_valid_json_and_left_out_when_read(
    folder: ObjectStore,
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    with started(folder, FIRST, 0, Clock()) as course:
        progress = report(step=20, generator_loss=float("nan"), discriminator_loss=float("inf"))
        course.metrics.observe(progress, 20)
        course.history.observe(progress, 20)
    line = folder.read(next(iter(folder.list(METRICS_SEGMENTS))).key).splitlines()[-1]
    row = json.loads(line, parse_constant=refuse)
    assert (row["dcgan_generator_loss"], row["dcgan_discriminator_loss"]) == ("nan", "inf")
    read = read_metrics(folder).rows[-1]
    assert read.step == 20
    assert "dcgan_generator_loss" not in read.values
    assert read.values["dcgan_real_probability"] == pytest.approx(0.71)


def test_counters_stay_exact_over_days(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.metrics.observe(
            report(step=20, step_seconds=123_456.7890123, generator_loss=0.123456789), 1
        )
        course.history.observe(report(step=20), 1)
    values = stored_rows(folder, METRICS_SEGMENTS)[-1]
    assert values["dcgan_step_seconds_sum"] == pytest.approx(123_456.7890123, rel=1e-11)
    assert values["dcgan_generator_loss"] == 0.123457


@pytest.mark.slow
def test_segments_follow_each_other(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock(), every_seconds=1.0) as course:
        course.train(20 * 1000, checkpoint_every=10**9)
    keys = [entry.key for entry in folder.list(METRICS_SEGMENTS)]
    assert keys == [
        f"{METRICS_SEGMENTS}{FIRST}-000-{number:06d}.jsonl" for number in range(1, len(keys) + 1)
    ]
    assert len(keys) > 1
    assert max(entry.num_bytes for entry in folder.list(METRICS_SEGMENTS)) <= SEGMENT_BYTES
    assert [row.step for row in read_metrics(folder).rows] == list(range(0, 20 * 1000 + 1, CALL))
