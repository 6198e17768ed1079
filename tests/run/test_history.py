"""The rows of a run: which there are, what they say, and which of them count after starts and roll-backs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from job.report import metric_history
from job.report.metric_history import read_metrics
from job.run import metric_rows
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.run.segments import SEGMENT_BYTES
from job.storage.store import ObjectStore
from job.telemetry.series import current_values
from tests.checkpoints.saves import Breaking
from tests.report.runs import CALL, TOTAL, Clock, started, troubled_run
from tests.telemetry.step_reports import report

ROOT = Path(__file__).parents[2]
FIRST = "20260102T030000Z"


def told(store: ObjectStore) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for entry in store.list(METRICS_SEGMENTS)
        for line in store.read(entry.key).splitlines()
    ]


def test_a_row_at_the_first_call_at_checkpoints_at_the_end_and_every_so_often(
    folder: ObjectStore,
) -> None:
    with started(folder, FIRST, 0, Clock(), every_seconds=10.0) as course:
        course.train(1110, checkpoint_every=300)  # a call of 20 steps takes 1 s
    found = [(row["phase"], row["step"]) for row in told(folder)]
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
    assert [row["row"] for row in told(folder)] == list(range(1, 11))
    assert {row["start"] for row in told(folder)} == {f"{FIRST}-000"}
    assert told(folder)[1]["time"] == "2026-01-02T03:00:01.000Z"


def test_a_row_has_the_names_and_values_that_prometheus_has(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(40)
        values = current_values(course.metrics.registry)
    last = told(folder)[-1]
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
    values = told(folder)[-1]
    assert values["dcgan_step_seconds_sum"] == pytest.approx(123_456.7890123, rel=1e-11)
    assert values["dcgan_generator_loss"] == 0.123457


def test_a_segment_that_was_written_again_while_merging_stays(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(100)
    [entry] = folder.list(METRICS_SEGMENTS)

    def worker_ends(request: int, name: str) -> None:
        if name == "upload":
            row = json.dumps({"start": f"{FIRST}-000", "row": 99, "step": 120, "phase": "train"})
            folder.write(entry.key, folder.read(entry.key) + row.encode() + b"\n")

    metric_rows.merge(Breaking(folder, worker_ends))
    assert read_metrics(folder).rows[-1].step == 120
    metric_rows.merge(folder)
    assert list(folder.list(METRICS_SEGMENTS)) == []
    assert read_metrics(folder).rows[-1].step == 120


def test_rows_of_steps_that_were_trained_again_are_superseded(store: ObjectStore) -> None:
    troubled_run(store, end=lambda start: None)
    course = read_metrics(store)
    steps = [row.step for row in course.rows]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] == TOTAL
    assert len(course.last_rows) == 3
    assert [row.step for row in course.first_rows.values()] == [0, 1000, 2000]
    by_start = {
        start: [row.step for row in course.rows if row.attempt == start]
        for start in course.first_rows
    }
    first, second, third = by_start.values()
    assert max(first) <= 1000 <= min(second)
    assert max(second) <= 2000 <= min(third)
    assert any(row.step == 3400 for row in course.last_rows.values()), (
        "what a start did at last is known all the same"
    )

    metric_rows.merge(store)
    assert list(store.list(METRICS_SEGMENTS)) == []
    assert read_metrics(store) == course


def test_a_merge_that_was_cut_short_doubles_nothing(folder: ObjectStore) -> None:
    troubled_run(folder, end=lambda start: None)
    before, num_lines = read_metrics(folder), len(told(folder))

    def no_deletion(request: int, name: str) -> None:
        if name == "delete":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metric_rows.merge(Breaking(folder, no_deletion))
    assert folder.stat(METRICS)
    assert told(folder)
    assert read_metrics(folder) == before
    metric_rows.merge(folder)
    assert told(folder) == []
    assert folder.read(METRICS).count(b"\n") == num_lines
    assert read_metrics(folder) == before


def test_a_run_that_goes_on_after_its_end_is_merged_again(folder: ObjectStore) -> None:
    for number, stamp in enumerate((FIRST, "20260102T040000Z")):
        with started(folder, stamp, number * 100, Clock()) as course:
            course.train(number * 100 + 100)
        metric_rows.merge(folder)
    found = read_metrics(folder)
    assert list(found.last_rows) == [f"{FIRST}-000", "20260102T040000Z-000"]
    assert found.rows[-1].step == 200


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'{"step": 3}',
        b'{"start": "a", "row": 1, "step": -1}',
        b'{"start": "a", "row": true, "step": 1}',
        b"[" * 9000,
    ],
    ids=lambda line: line.decode()[:20],
)
def test_a_line_that_is_no_row_is_passed_over(folder: ObjectStore, line: bytes) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(100)
    before = read_metrics(folder)
    key = next(iter(folder.list(METRICS_SEGMENTS))).key
    folder.write(key, line + b"\n" + folder.read(key) + line)
    found = read_metrics(folder)
    assert found.rows == before.rows
    assert found.num_bad_lines == (2 if line else 0)


def test_a_huge_file_is_read_in_parts_evenly(
    folder: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_history, "MAX_PARSED_BYTES", 1 << 20)
    filler = " " * 900
    data = b"".join(
        b'{"start":"s","row":%d,"step":%d,"x":%d}%s\n' % (n, n, n, filler.encode())
        for n in range(1, 10_001)
    )
    folder.write(METRICS, data + b"x" * (3 << 20))  # and a line without an end
    found = read_metrics(folder)
    assert 500 < len(found.rows) < 1100
    gaps = {later.step - row.step for row, later in zip(found.rows, found.rows[1:], strict=False)}
    assert len(gaps) == 1
    assert found.rows[-1].step > 9980


@pytest.mark.parametrize("state", ["joined", "not joined", "cut short"])
def test_the_lines_of_the_documents_find_the_rows_that_count(
    folder: ObjectStore, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")  # Ray brings it
    troubled_run(folder, end=lambda start: None)
    segments = {entry.key: folder.read(entry.key) for entry in folder.list(METRICS_SEGMENTS)}
    if state != "not joined":
        metric_rows.merge(folder)
    if state == "cut short":
        for key, data in segments.items():
            folder.write(key, data)
    [example] = re.findall(
        r"^```python\n(.*?)^rows\.plot",
        (ROOT / "docs/records.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    path = folder.local_path(METRICS)
    assert path
    names: dict[str, Any] = {}
    exec(example.replace("runs/first", str(path.parent)), names)
    assert list(names["rows"]["step"]) == [row.step for row in read_metrics(folder).rows]


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
