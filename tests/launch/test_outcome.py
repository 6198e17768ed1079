"""The outcome of a run is recorded for every kind of end, with the metrics and the report."""

from pathlib import Path

import pytest

from job.config.errors import DataError
from job.launch.outcome import record_outcome
from job.run import attempts
from job.run.layout import CONFIGURATION, METRICS, METRICS_SEGMENTS, REPORT
from job.run.lease import LeaseLost
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.checkpoints.saves import Breaking, for_good_from
from tests.report.runs import Clock, configuration, facts, started


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


def begun(store: ObjectStore) -> attempts.Attempt:
    start = attempts.begin(store, facts())
    store.write(CONFIGURATION, configuration())
    with started(store, start.stamp, 0, Clock()) as course:
        course.train(100)
    return start


def test_after_the_last_step(store: ObjectStore) -> None:
    start = begun(store)
    with record_outcome(store, start):
        pass
    end = attempts.read(store, start.stamp).end
    assert (end["outcome"], end["exit_code"]) == ("done", 0)
    assert store.stat(METRICS)
    assert not list(store.list(METRICS_SEGMENTS))
    assert b'<span class="badge done">done</span>' in store.read(REPORT)


@pytest.mark.parametrize(
    ("error", "why", "exit_code"),
    [
        (DataError("shard-00001.u8: has SHA-256 ab"), "shard-00001.u8: has SHA-256 ab", 5),
        (ZeroDivisionError("of all things"), "ZeroDivisionError: of all things", 1),
    ],
)
def test_after_an_error(store: ObjectStore, error: Exception, why: str, exit_code: int) -> None:
    start = begun(store)
    with pytest.raises(type(error)), record_outcome(store, start):
        raise error
    end = attempts.read(store, start.stamp).end
    assert (end["outcome"], end["why"], end["exit_code"]) == ("failed", why, exit_code)
    assert why.encode() in store.read(REPORT)


def test_who_stops_a_run_does_not_wait_for_a_report(store: ObjectStore) -> None:
    start = begun(store)
    with pytest.raises(KeyboardInterrupt), record_outcome(store, start):
        raise KeyboardInterrupt
    assert attempts.read(store, start.stamp).end["outcome"] == "stopped"
    assert store.stat(REPORT) is None
    assert store.stat(METRICS), "but what reads metrics.jsonl finds it"
    assert not list(store.list(METRICS_SEGMENTS))


def test_in_another_jobs_run_folder_nothing_is_merged_or_replaced(store: ObjectStore) -> None:
    start = begun(store)
    with pytest.raises(LeaseLost), record_outcome(store, start):
        raise LeaseLost("taken over by process 7")
    assert attempts.read(store, start.stamp).end["why"] == "taken over by process 7"
    assert store.stat(REPORT) is None
    assert list(store.list(METRICS_SEGMENTS))


@pytest.mark.parametrize("is_done", [True, False])
def test_a_store_that_is_gone_hides_no_error(
    store: ObjectStore, is_done: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Breaking(store, for_good_from(1))
    start = begun(store)
    broken = attempts.Attempt(gone, attempts.datetime.datetime.now(attempts.datetime.UTC), {})
    if is_done:
        with record_outcome(gone, broken):
            pass
    else:
        with pytest.raises(DataError, match="the first one"), record_outcome(gone, broken):
            raise DataError("the first one")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"{what} is not written" for what in ("how the run ended", "metrics.jsonl", "report.html")
    ]
    assert attempts.read(store, start.stamp).end == {}
