"""The watchdog: limits, its report of a hang, and the end of a process that hangs."""

import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from job.config.errors import ConfigError, DataError, DcganError, DivergedError, StorageError
from job.telemetry.step_report import PHASES
from job.telemetry.watchdog import EXIT_CODE, NEVER_SECONDS, Hang, Watchdog

ROOT = Path(__file__).parents[2]
LIMITS = {
    "compile": 0.1,
    "train": 0.02,
    "sample": 0.0,
    "checkpoint": math.inf,
    "done": NEVER_SECONDS,
}

UNWATCHED = """
import time
from job.telemetry.watchdog import Watchdog
with Watchdog({"train": 0.4}, print, backstop_seconds=0.4, clock=lambda: 0.0) as watchdog:
    watchdog.beat("train")
    time.sleep(0.3)
    watchdog.beat("sample")
    time.sleep(1.2)
    watchdog.beat("train")
    time.sleep(0.3)
time.sleep(1.2)
print("alive")
"""


class Clock:
    """Moves only when it is set, and counts how often the watchdog reads it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._readings = threading.Semaphore(0)

    def __call__(self) -> float:
        if threading.current_thread().name.startswith("watchdog"):
            self._readings.release()
        return self.now

    def wait_until_seen(self) -> None:
        """Wait until the watchdog has checked the present time."""
        while self._readings.acquire(blocking=False):
            pass
        for _ in range(3):
            assert self._readings.acquire(timeout=10)


@contextmanager
def watched(**options: Any) -> Iterator[tuple[Watchdog, Clock, "queue.Queue[Hang]"]]:
    clock, hangs = Clock(), queue.Queue[Hang]()
    with Watchdog(LIMITS, hangs.put, clock=clock, **options) as watchdog:
        yield watchdog, clock, hangs


def test_each_phase_has_its_own_limit() -> None:
    with watched() as (watchdog, clock, hangs):
        watchdog.beat("compile")
        clock.now += 0.09
        clock.wait_until_seen()
        assert hangs.empty()
        watchdog.beat("train")
        clock.now += 0.03
        hang = hangs.get(timeout=10)
    assert (hang.phase, hang.seconds, hang.limit_seconds) == ("train", pytest.approx(0.03), 0.02)


def test_every_beat_restarts_the_limit() -> None:
    with watched() as (watchdog, clock, hangs):
        for _ in range(10):
            watchdog.beat("train")
            clock.now += 0.015
            clock.wait_until_seen()
        assert hangs.empty()


@pytest.mark.parametrize("phase", ["sample", "checkpoint", "done", "start"])
def test_a_phase_without_a_limit_is_not_watched(phase: Any) -> None:
    assert phase in PHASES
    with watched() as (watchdog, clock, hangs):
        watchdog.beat(phase)
        clock.now += 1e9
        clock.wait_until_seen()
        assert hangs.empty()
        watchdog.beat("train")
        clock.now += 1
        assert hangs.get(timeout=10).phase == "train"


def test_a_hang_is_reported_once() -> None:
    with watched() as (watchdog, clock, hangs):
        (watching,) = (
            thread for thread in threading.enumerate() if thread.name.startswith("watchdog")
        )
        watchdog.beat("train")
        clock.now += 1
        hangs.get(timeout=10)
        watchdog.beat("train")
        clock.now += 1
        watching.join(timeout=10)
        assert not watching.is_alive()
    assert hangs.empty()


def test_stacks_are_of_all_threads_by_name() -> None:
    def read_on(end: threading.Event) -> None:
        end.wait()

    end = threading.Event()
    reader = threading.Thread(target=read_on, args=(end,), name="reader of shards")
    reader.start()
    with watched(name="rank 1") as (watchdog, clock, hangs):
        watchdog.beat("train")
        clock.now += 1
        stacks = hangs.get(timeout=10).stacks
    end.set()
    reader.join()
    heads = ("Thread MainThread:", "Thread reader of shards:", "Thread watchdog of rank 1:")
    assert all(stacks.count(head) == 1 for head in heads)
    by_thread = {part.partition(":")[0]: part for part in stacks.split("Thread ")}
    assert "test_stacks_are_of_all_threads_by_name" in by_thread["MainThread"]
    assert "read_on" in by_thread["reader of shards"]


def test_a_closed_watchdog_leaves_no_thread() -> None:
    before = threading.active_count()
    with watched() as (watchdog, _, _):
        watchdog.beat("train")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def hang(where: str, write: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "tests.telemetry.hanging", where, write, str(folder))


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with buffered output, as a worker has."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "function"), [("lock", "wait_for_a_lock"), ("sleep", "sleep_long")]
)
def test_a_process_that_hangs_reports_its_stacks_and_ends(
    where: str, function: str, tmp_path: Path
) -> None:
    ended = hang(where, "file", tmp_path)
    assert ended.returncode == EXIT_CODE
    assert ended.stdout == "not flushed yet"
    event = json.loads(ended.stderr)
    assert (event["level"], event["rank"]) == ("critical", 1)
    assert event["event"].startswith(
        "rank 1 hangs: nothing has finished for 0 s in phase train (limit 0.3 s); "
    )
    fields = event["fields"]
    assert (fields["rank"], fields["phase"], fields["limit_seconds"]) == (1, "train", 0.3)
    assert 0.3 < fields["seconds"] < 10
    written = (tmp_path / "rank-1.txt").read_text()
    assert written.startswith("rank 1 hangs: ")
    for text in (fields["stacks"], written):
        assert all(
            name in text
            for name in ("Thread MainThread:", f"in {function}\n", "Thread reader:", "in read_on\n")
        )


@pytest.mark.slow
def test_a_call_that_keeps_the_gil_is_ended_by_the_c_timer(tmp_path: Path) -> None:
    ended = hang("gil", "file", tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Timeout (")
    assert all(
        name in ended.stderr
        for name in ("in keep_the_gil\n", "in read_on\n", 'File "<watchdog of rank 1>"')
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "why"), [("stuck", "not written within 0.5 s"), ("refused", "the store is full")]
)
def test_a_store_that_hangs_or_refuses_does_not_delay_the_end(
    write: str, why: str, tmp_path: Path
) -> None:
    ended = hang("lock", write, tmp_path)
    assert ended.returncode == EXIT_CODE
    events = {event["level"]: event for event in map(json.loads, ended.stderr.splitlines())}
    assert "in wait_for_a_lock\n" in events["critical"]["fields"]["stacks"]
    assert events["error"]["event"] == f"rank 1: the stacks of the hang are in the log only: {why}"


@pytest.mark.slow
def test_a_bug_in_on_hang_does_not_keep_the_process(tmp_path: Path) -> None:
    ended = hang("lock", "broken", tmp_path)
    assert ended.returncode == 1
    assert all(
        text in ended.stderr
        for text in ("ValueError: a bug in on_hang", "Timeout (", "in wait_for_a_lock\n")
    )


@pytest.mark.slow
def test_the_c_timer_is_off_if_nothing_is_watched() -> None:
    """It would end the process 0.8 s after the watchdog last set it: its clock does not move."""
    ended = python("-c", UNWATCHED)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\n", "")


def test_no_error_has_the_exit_code() -> None:
    errors = (DcganError, ConfigError, StorageError, DivergedError, DataError)
    assert EXIT_CODE not in {0, *(error.exit_code for error in errors)}
