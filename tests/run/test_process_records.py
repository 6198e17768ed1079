"""The records of one process: its log and its rows are in the run folder when it ends."""

import logging

import pytest

from job.config.load import load_run
from job.run.process_records import process_records
from job.storage.store import ObjectStore
from tests.run.stored import stored_rows

START = "20260102T030405Z-000"


def test_everything_is_written_even_if_the_process_fails(folder: ObjectStore) -> None:
    spec = load_run("notebook", overrides=["uri=runs/garments", "data.uri=set"])

    def fail() -> None:
        with process_records(spec, folder, START, "rank001", rank=1) as records:
            assert records.start == START
            rows = records.writer.open(lambda number: f"rows/{number}")
            rows.append(b"row\n")
            logging.getLogger("dcgan.training").info("first call done")
            raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        fail()
    assert folder.read("rows/1") == b"row\n"
    events = stored_rows(folder, f"logs/{START}-rank001-")
    assert events[1]["event"] == "first call done"
    assert {(event["run"], event["rank"]) for event in events} == {("garments", 1)}
    assert "the reason" in str(events[-1])
