"""Attempts: their order, their outcome, and records that cannot be read."""

import json

import pytest

from job.config.errors import StorageError
from job.run import attempts
from job.storage.store import ObjectStore
from tests.checkpoints.saves import Breaking, for_good_from


def test_attempts_are_in_order_even_if_the_clock_is_behind(folder: ObjectStore) -> None:
    folder.write("starts/20991231T235959Z.json", b"{}")  # a machine whose clock was wrong
    folder.write("starts/notes.json", b"{}")
    first, second = attempts.begin(folder, {}), attempts.begin(folder, {})
    assert attempts.stamps(folder) == ["20991231T235959Z", first.stamp, second.stamp]
    assert (first.stamp, second.stamp) == ("21000101T000000Z", "21000101T000001Z")
    begun = json.loads(folder.read(f"starts/{first.stamp}.json"))["time"]
    assert begun == "2100-01-01T00:00:00+00:00"


def test_an_attempt_needs_its_record(folder: ObjectStore) -> None:
    with pytest.raises(StorageError):
        attempts.begin(Breaking(folder, for_good_from(1)), {})


def test_an_outcome_is_written_once_the_attempt_ends(folder: ObjectStore) -> None:
    attempt = attempts.begin(folder, {"step": 30})
    assert attempts.read(folder, attempt.stamp).end == {}
    attempt.end("failed", "x" * 5000, 3)
    record = attempts.read(folder, attempt.stamp)
    assert record.facts["step"] == 30
    end = record.end
    assert (end["outcome"], end["exit_code"], len(end["why"])) == ("failed", 3, 4000)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"end": 1}', b'{"end": {"outcome": "?"}}'])
def test_a_damaged_record_has_no_outcome(folder: ObjectStore, content: bytes) -> None:
    folder.write("starts/20260102T030405Z.json", content)
    assert attempts.read(folder, "20260102T030405Z").end == {}
