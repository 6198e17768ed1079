"""Metric rows: merged once whatever interrupts it, and only rows are read."""

import json

import pytest

from job.report.metric_history import read_metrics
from job.run import metric_rows
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.storage.store import ObjectStore
from tests.checkpoints.saves import Breaking
from tests.report.runs import Clock, started, troubled_run
from tests.run.stored import FIRST, stored_rows


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


@pytest.mark.slow
def test_a_merge_that_was_cut_short_doubles_nothing(folder: ObjectStore) -> None:
    troubled_run(folder, end=lambda start: None)
    before, num_lines = read_metrics(folder), len(stored_rows(folder, METRICS_SEGMENTS))

    def no_deletion(request: int, name: str) -> None:
        if name == "delete":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metric_rows.merge(Breaking(folder, no_deletion))
    assert folder.stat(METRICS)
    assert stored_rows(folder, METRICS_SEGMENTS)
    assert read_metrics(folder) == before
    metric_rows.merge(folder)
    assert stored_rows(folder, METRICS_SEGMENTS) == []
    assert folder.read(METRICS).count(b"\n") == num_lines
    assert read_metrics(folder) == before


def test_a_run_resumed_after_its_end_is_merged_again(folder: ObjectStore) -> None:
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
def test_other_lines_are_skipped(folder: ObjectStore, line: bytes) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(100)
    before = read_metrics(folder)
    key = next(iter(folder.list(METRICS_SEGMENTS))).key
    folder.write(key, line + b"\n" + folder.read(key) + line)
    found = read_metrics(folder)
    assert found.rows == before.rows
    assert found.num_bad_lines == (2 if line else 0)
