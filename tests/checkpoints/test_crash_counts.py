"""Crashes right after a restore: counted once each, cleared by training, never by a stop."""

import json
from dataclasses import replace

import pytest

from job.checkpoints.crash_counts import KEY, CrashCounts
from job.storage.store import ObjectStore
from tests.checkpoints.saves import facts

PROGRAM, NEXT_PROGRAM = "20260102T030405Z", "20260102T040506Z"


def attempt(
    store: ObjectStore, start: str, workers: int = 2, hosts: int = 7, has_failed: bool = True
) -> CrashCounts:
    return CrashCounts(store, start, workers, hosts, lambda stamp: has_failed)


def crash(store: ObjectStore, number: int) -> CrashCounts:
    """Start attempt ``number`` of a program from step 30."""
    counts = attempt(store, f"{PROGRAM}-{number:03d}")
    counts.begin(facts(30))
    return counts


def test_a_checkpoint_is_skipped_after_two_crashes(store: ObjectStore) -> None:
    found = [crash(store, number).are_too_many(facts(30)) for number in range(4)]
    assert found == [False, False, True, True]
    counts = attempt(store, f"{PROGRAM}-004")
    assert not counts.are_too_many(facts(20))
    saved_again = replace(facts(30), created="2026-01-03T00:00:00+00:00")
    assert not counts.are_too_many(saved_again)


def test_training_clears_the_count_of_its_checkpoint(store: ObjectStore) -> None:
    crash(store, 0)
    crash(store, 1).mark_succeeded()
    assert json.loads(store.read(KEY)) == {}
    assert not crash(store, 2).are_too_many(facts(30))


def test_all_counts_can_be_cleared(store: ObjectStore) -> None:
    counts = [crash(store, number) for number in range(3)][-1]
    assert counts.are_too_many(facts(30))
    counts.forget()
    assert not attempt(store, f"{PROGRAM}-003").are_too_many(facts(30))


@pytest.mark.parametrize(
    ("start", "options", "is_crash"),
    [
        (f"{PROGRAM}-001", {}, True),
        (f"{PROGRAM}-000", {}, False),  # a rollback in the same attempt
        (f"{PROGRAM}-001", {"workers": 3}, False),
        (f"{PROGRAM}-001", {"hosts": 8}, False),  # a lost node
        (f"{NEXT_PROGRAM}-000", {}, True),
        (f"{NEXT_PROGRAM}-000", {"has_failed": False}, False),  # a stop
    ],
)
def test_only_a_crash_counts(
    store: ObjectStore, start: str, options: dict[str, int], is_crash: bool
) -> None:
    counts = attempt(store, f"{PROGRAM}-000")
    counts.begin(facts(30))
    attempt(store, start, **options).begin(facts(30))
    assert json.loads(store.read(KEY)).get("step 30 of 2026-01-01T00:00:00+00:00") == (
        1 if is_crash else None
    )


@pytest.mark.parametrize("data", [b"", b"[]", b'{"begun": 3, "step 30": "x"}', b"\xff", b"{" * 9])
def test_a_damaged_document_counts_nothing(store: ObjectStore, data: bytes) -> None:
    store.write(KEY, data)
    assert not crash(store, 0).are_too_many(facts(30))
    assert json.loads(store.read(KEY)).keys() == {"begun"}
