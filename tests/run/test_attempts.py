"""Attempts: their order, their outcome, and records that cannot be read."""

from pathlib import Path

import pytest

from job.run import attempts
from job.storage.store import ObjectStore
from job.storage.uri import open_store


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


def test_an_attempt_is_later_than_all_before_even_if_the_clock_is_behind(
    folder: ObjectStore,
) -> None:
    folder.write("starts/29990101T000000Z.json", b"{}")
    folder.write("starts/notes.json", b"{}")
    assert attempts.begin(folder, {}).stamp == "29990101T000001Z"
    assert attempts.stamps(folder) == ["29990101T000000Z", "29990101T000001Z"]


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
