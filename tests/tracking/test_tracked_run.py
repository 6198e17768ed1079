"""``tracking.json``: written whole, and read without trust."""

import json

import pytest

from job.run.layout import TRACKING
from job.storage.store import ObjectStore
from job.tracking.tracked_run import MAX_BYTES, TrackedRun, read_tracked_run, write_tracked_run

STORED = {"service": "mlflow", "project": "garments", "run_id": "0a1b", "last_steps": {"scores": 7}}


def test_a_run_folder_continues_its_run_in_the_same_project_only(folder: ObjectStore) -> None:
    assert read_tracked_run(folder, "mlflow", "garments") == TrackedRun("mlflow", "garments")
    tracked = TrackedRun("mlflow", "garments", "0a1b", {"metrics": 20, "samples": 0})
    write_tracked_run(folder, tracked)
    assert read_tracked_run(folder, "mlflow", "garments") == tracked
    assert read_tracked_run(folder, "wandb", "garments") == TrackedRun("wandb", "garments")
    assert read_tracked_run(folder, "mlflow", "faces") == TrackedRun("mlflow", "faces")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        json.dumps(STORED).encode() + b" " * MAX_BYTES,
        json.dumps(STORED | {"run_id": "../../secrets"}).encode(),
        json.dumps(STORED | {"run_id": 7}).encode(),
    ],
)
def test_a_damaged_document_begins_another_run(folder: ObjectStore, data: bytes) -> None:
    folder.write(TRACKING, data)
    assert read_tracked_run(folder, "mlflow", "garments") == TrackedRun("mlflow", "garments")


def test_steps_that_are_not_steps_are_ignored(folder: ObjectStore) -> None:
    last_steps = {"metrics": -1, "scores": 7, "samples": "9", "other": 3}
    folder.write(TRACKING, json.dumps(STORED | {"last_steps": last_steps}).encode())
    found = read_tracked_run(folder, "mlflow", "garments")
    assert (found.run_id, found.last_steps) == ("0a1b", {"scores": 7})
