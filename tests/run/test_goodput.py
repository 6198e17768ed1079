"""Goodput over attempts: kept by the chief, read from ``status.json``."""

import datetime
import json
import threading
from typing import Any

import pytest

from job.config.errors import StorageError
from job.run.attempts import AttemptRecord
from job.run.goodput import GOODPUT, MAX_POINTS, Goodput, GoodputRecorder, read_goodput
from job.run.layout import METRICS_SEGMENTS, STATUS, start_key
from job.storage.store import ObjectStore
from tests.checkpoints.saves import Breaking
from tests.report.runs import BEGIN, Clock, started
from tests.run.stored import FIRST, stored_rows

SECOND = "20260102T040000Z"
STEP = 0.054  # of a step of tests.report.runs, with its wait


def recorded(store: ObjectStore) -> Goodput:
    found = read_goodput(json.loads(store.read(STATUS)), None)
    assert found is not None
    return found


def begin(store: ObjectStore, stamp: str, ended: str | None = None) -> AttemptRecord:
    end = {"end": {"outcome": "failed", "time": f"2026-01-02T{ended}+00:00"}} if ended else {}
    record = AttemptRecord(stamp, end)
    time = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    store.write(start_key(time), json.dumps(record.facts).encode())
    return record


def test_one_attempt(folder: ObjectStore) -> None:
    begin(folder, FIRST)
    with started(folder, FIRST, 0, Clock(BEGIN + 30)) as course:
        has_read = threading.Event()  # that there is no earlier record: until then rows have none
        course.history._writer.later(lambda _: has_read.set())
        course.history._writer.flush_soon()
        assert has_read.wait(10)
        course.train(2020)  # a call of 20 steps takes 1 s, the first one compiles
    found = recorded(folder)
    assert found == Goodput(131.0, pytest.approx(2000 * STEP), 0.0, 31.0, 0.0, 0.0)
    assert found.share == pytest.approx(2000 * STEP / 131)
    rows = stored_rows(folder, METRICS_SEGMENTS)
    assert rows[-1][GOODPUT] == pytest.approx(found.share, rel=1e-5)


@pytest.mark.slow
def test_steps_that_are_trained_again_count_once_and_pauses_do_not_count(
    folder: ObjectStore,
) -> None:
    clock = Clock()
    begin(folder, FIRST)
    with started(folder, FIRST, 0, clock) as course:
        course.train(1500)  # 500 of them are lost
    clock.now += 90  # the workers restart
    with started(folder, FIRST, 1000, clock, restarts=1) as course:
        course.train(2700)
        course.back_to(2000)  # 700 are lost
        course.train(3000)
    assert clock.now == BEGIN + 75 + 90 + 85 + 50
    clock.now = BEGIN + 3600  # the program was killed, and is started an hour later
    begin(folder, SECOND)
    with started(folder, SECOND, 3000, clock) as course:
        course.train(3600)
    found = recorded(folder)
    assert found.seconds == 75 + 90 + 85 + 50 + 30
    useful = 3600 - 4 * 20  # four calls compiled
    assert found.useful_seconds == pytest.approx(useful * STEP, rel=0.01)
    assert found.lost_seconds == pytest.approx(1200 * STEP, rel=0.01)
    assert found.starting_seconds == pytest.approx(90 + 4, abs=0.01)


def test_attempts_that_never_reported_and_the_end_of_others_count(folder: ObjectStore) -> None:
    begin(folder, FIRST, "03:02:00")
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(2000)
    begin(folder, "20260102T033000Z", "03:31:00")  # waited for nodes
    begin(folder, "20260102T034000Z")  # killed: for how long is not known
    begin(folder, SECOND)
    with started(folder, SECOND, 2000, Clock(BEGIN + 3600)) as course:
        course.train(3000)
    found = recorded(folder)
    assert found.seconds == 120 + 60 + 50
    assert found.starting_seconds == 1 + 60 + 1


def test_the_end_of_the_newest_attempt_counts(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(2000)
    stored = json.loads(folder.read(STATUS))
    found = read_goodput(stored, begin(folder, FIRST, "03:01:50"))
    assert found is not None
    assert (found.seconds, found.starting_seconds) == (110.0, 1.0)
    for other in (None, begin(folder, SECOND, "04:10:00"), AttemptRecord(FIRST, {})):
        assert read_goodput(stored, other) == recorded(folder)
    assert recorded(folder).seconds == 100.0


def test_phases_are_what_the_rest_was_spent_on(folder: ObjectStore) -> None:
    clock = Clock()
    with started(folder, FIRST, 0, clock) as course:
        course.train(100)
        for phase, seconds in (("checkpoint", 3), ("sample", 4), ("score", 5)):
            course.metrics.enter(phase)  # type: ignore[arg-type]
            clock.now += seconds
        course.metrics.enter("train")
        course.train(200)
    found = recorded(folder)
    assert (found.seconds, found.starting_seconds) == (22.0, 1.0)
    assert (found.saving_seconds, found.sampling_seconds) == (3.0, 9.0)


def test_a_folder_of_an_earlier_version_stays_without(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(1000)
    stored = json.loads(folder.read(STATUS))
    del stored["goodput"]
    folder.write(STATUS, json.dumps(stored).encode())
    assert read_goodput(stored, None) is None
    with started(folder, SECOND, 1000, Clock(BEGIN + 3600)) as course:
        course.train(2000)
    assert "goodput" not in json.loads(folder.read(STATUS))
    rows = [row for row in stored_rows(folder, METRICS_SEGMENTS) if SECOND in row["start"]]
    assert rows
    assert not [row for row in rows if GOODPUT in row]


def test_a_store_that_fails_once_loses_nothing(folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(1000)
    earlier, has_failed = recorded(folder), threading.Event()

    def fail_once(number: int, name: str) -> None:
        if name == "list" and not has_failed.is_set():
            has_failed.set()
            raise StorageError("the store is down")

    with started(Breaking(folder, fail_once), SECOND, 1000, Clock(BEGIN + 3600)) as course:
        course.train(2000)
        course.history.close()
        assert has_failed.wait(10)
    assert recorded(folder).useful_seconds > 1.9 * earlier.useful_seconds


def test_points_are_few_and_the_seconds_between_them_follow(folder: ObjectStore) -> None:
    recorder = GoodputRecorder(f"{FIRST}-000")
    for step in range(1, 10_001):
        recorder.observe(BEGIN + step / 2, step, 1, 0.5, is_beginning=False)
    recorder.observe(BEGIN + 5000, 3333, 0, 0.0, is_beginning=True)  # a rollback
    recorder.observe(BEGIN + 5010, 3334, 1, 0.5, is_beginning=False)
    assert recorder.content() == {}, "nothing is known before the earlier attempts are read"
    recorder.resume_from(folder, None)
    recorder.phases(BEGIN + 5010, {})
    recorder.observe(BEGIN + 5011, 3335, 1, 0.5, is_beginning=False)
    [content] = recorder.content().values()
    assert 1 < len(content["useful"]) <= MAX_POINTS
    assert content["useful_seconds"] == pytest.approx((3334 - 1) * 0.5, abs=0.51)
    assert content["useful_seconds"] + content["lost_seconds"] == pytest.approx(10_000 * 0.5)
    assert (content["seconds"], content["starting_seconds"]) == (5011.0, 5010.0)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": "many"},
        {"lost_seconds": -1},
        {"time": "yesterday"},
        {"time": 7},
        {"useful": {}},
        {"useful": [[1]]},
        {"useful": [[0, 0.0]] * (MAX_POINTS + 1)},
        {"useful": [["1", 2.0]]},
    ],
)
def test_a_bad_record_counts_as_missing(change: dict[str, Any], folder: ObjectStore) -> None:
    with started(folder, FIRST, 0, Clock()) as course:
        course.train(100)
    stored = json.loads(folder.read(STATUS))
    assert read_goodput(stored, None)
    assert read_goodput({"goodput": stored["goodput"] | change}, None) is None
    assert read_goodput({"goodput": 7}, None) is None
