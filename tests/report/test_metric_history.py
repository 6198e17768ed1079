"""Rows that count after restarts and rollbacks, also of large files and for pandas."""

import re
from pathlib import Path
from typing import Any

import pytest

from job.report import metric_history
from job.report.metric_history import read_metrics
from job.run import metric_rows
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.storage.store import ObjectStore
from tests.report.runs import TOTAL, troubled_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


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
        "the last row of an attempt is kept"
    )

    metric_rows.merge(store)
    assert list(store.list(METRICS_SEGMENTS)) == []
    assert read_metrics(store) == course


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
