"""The result of a run: written whole, and read without trust."""

import json

import pytest

from job.run.layout import SUMMARY
from job.run.summary import MAX_BYTES, Summary, finished_step, write_summary
from job.storage.store import ObjectStore


def test_a_summary_marks_the_run_as_done(folder: ObjectStore) -> None:
    assert finished_step(folder) is None
    summary = Summary("completed", 300, 100, None, 1.5, 2, 0, {"keras": "3"})
    write_summary(folder, summary)
    assert finished_step(folder) == 300
    found = json.loads(folder.read(SUMMARY))
    assert Summary(**found) == summary


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"steps": "300"}', b'{"steps": true}', b'{"steps": 3}' + b" " * MAX_BYTES],
)
def test_a_damaged_summary_says_nothing(folder: ObjectStore, data: bytes) -> None:
    folder.write(SUMMARY, data)
    assert finished_step(folder) is None
