"""Appended records: flushed ones stay, none is half-written, and no store blocks appending."""

import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.run.segments import MAX_WAITING, SEGMENT_BYTES, URGENT_SECONDS, Segments, Writer
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.checkpoints.saves import Breaking, for_good_from
from tests.run.stored import stored_lines
from tests.servers.prometheus import wait_for

ROOT = Path(__file__).parents[2]


def key(number: int) -> str:
    return f"rows/{number:06d}.jsonl"


def lines(store: ObjectStore) -> list[bytes]:
    return stored_lines(store, "rows/")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


def test_all_records_are_stored_in_order(store: ObjectStore) -> None:
    with Writer(store, 3600.0) as writer:
        segments = writer.open(key)
        for number in range(1000):
            segments.append(b"%d\n" % number)
    assert lines(store) == [b"%d" % number for number in range(1000)]


def test_a_full_segment_is_left_alone_and_each_begins_with_the_head(store: ObjectStore) -> None:
    segments = Segments(key, b"head\n", lambda: None)
    row = b"x" * (SEGMENT_BYTES // 4 - 100) + b"\n"
    for _ in range(9):
        segments.append(row)
    segments.flush(store)
    tags = {entry.key: entry.etag for entry in store.list("rows/")}
    assert list(tags) == [key(1), key(2), key(3)]
    segments.append(row)
    segments.flush(store)
    changed = {entry.key for entry in store.list("rows/") if entry.etag != tags[entry.key]}
    assert changed == {key(3)}
    for number in (1, 2, 3):
        data = store.read(key(number))
        assert data.startswith(b"head\n" + b"x")
        assert len(data) <= SEGMENT_BYTES
        assert data.endswith(b"\n")


def test_nothing_is_written_without_new_records(store: ObjectStore) -> None:
    counted = Breaking(store, lambda number, name: None)
    segments = Segments(key, b"head\n", lambda: None)
    segments.flush(counted)
    assert counted.requests == 0
    segments.append(b"a\n")
    segments.flush(counted)
    segments.flush(counted)
    assert counted.requests == 1


@pytest.mark.slow
def test_an_outage_costs_nothing_and_is_logged_once(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    def before(request: int, name: str) -> None:
        if request <= 5:
            raise StorageError(f"request {request}: the store is away")

    caplog.set_level(logging.INFO, "dcgan.records")
    broken = Breaking(store, before)
    with Writer(broken, 0.05) as writer:
        segments = writer.open(key)
        segments.append(b"1\n")
        wait_for("the store back", lambda: list(store.list("rows/")), 60)
        segments.append(b"2\n")
    assert lines(store) == [b"1", b"2"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, messages
    assert messages[0].startswith(
        "metrics and logs are not written to the run folder, still trying: request 1"
    )
    assert messages[1].startswith("records are written again, after")


def test_a_store_that_is_gone_takes_neither_memory_nor_time(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    row = b"x" * (SEGMENT_BYTES - 1) + b"\n"
    started = time.monotonic()
    with Writer(Breaking(store, for_good_from(1)), 0.05, close_seconds=1.0) as writer:
        segments = writer.open(key)
        for _ in range(MAX_WAITING + 11):
            segments.append(row)
    assert segments.num_lost == 10
    assert time.monotonic() - started < 20
    assert "the last of the run's records were not written" in caplog.text
    assert "10 segments were given up" in caplog.text


def test_a_long_series_is_thinned_out_and_never_ends(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two kinds of records that take turns are thinned alike, and both reach to the end."""
    monkeypatch.setattr("job.run.segments.MAX_WHOLE_SEGMENTS", 8)
    monkeypatch.setattr("job.run.segments.SEGMENT_BYTES", 100)
    with Writer(store, 3600.0) as writer:
        segments = writer.open(key)
        for number in range(2000):
            segments.append(b"%s %05d%s\n" % (b"ab"[number % 2 :][:1], number, b"." * 40))
            if number % 10 == 0:
                segments.flush(store)
        assert [record.getMessage() for record in caplog.records] == [
            f"{store.uri}/{key(9)}: this series of records has over 8 segments;"
            " from here on only some records are kept,"
            " ever fewer the longer it grows"
        ]
    kept = [line.rstrip(b".").split() for line in lines(store)]
    numbers = [int(number) for _, number in kept]
    assert numbers[:16] == list(range(16))  # two records fill a segment
    assert 8 < len(list(store.list("rows/"))) < 8 + 2 * 9
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert max(gaps[:20]) <= 3
    assert numbers[-1] > 1500
    assert {kind for kind, number in kept if int(number) > 200} == {b"a", b"b"}
    assert len(caplog.records) == 1


def test_a_store_that_hangs_blocks_no_thread(store: ObjectStore) -> None:
    let_go = threading.Event()
    with Writer(
        Breaking(store, lambda request, name: let_go.wait(60) and None), 0.05, close_seconds=0.5
    ) as writer:
        segments = writer.open(key)
        segments.append(b"1\n", soon=True)
        started = time.monotonic()
        for _ in range(1000):
            segments.append(b"2\n")
        assert time.monotonic() - started < 5
    let_go.set()


def test_records_appended_during_a_flush_are_in_the_last_one(store: ObjectStore) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def before(request: int, name: str) -> None:
        entered.set()
        let_go.wait(60)

    with Writer(Breaking(store, before), 3600.0) as writer:
        segments = writer.open(key)
        segments.append(b"1\n", soon=True)
        assert entered.wait(60)
        segments.append(b"2\n")
        threading.Timer(0.3, let_go.set).start()
    assert lines(store) == [b"1", b"2"]


def test_work_for_later_that_fails_ends_nothing(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    with Writer(store, 0.05) as writer:
        segments = writer.open(key)
        writer.later(lambda store: 1 / 0)
        writer.later(lambda store: segments.append(b"after\n"))
        wait_for("the second", lambda: list(store.list("rows/")), 60)
    assert lines(store) == [b"after"]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.slow
def test_a_flood_of_urgent_records_is_few_writes_and_loses_nothing(store: ObjectStore) -> None:
    counted = Breaking(store, lambda number, name: None)
    began = time.monotonic()
    with Writer(counted, 3600.0) as writer:
        segments = writer.open(key)
        for number in range(300):
            segments.append(b"%d\n" % number, soon=True)
            time.sleep(0.005)
    seconds = time.monotonic() - began
    assert lines(store) == [b"%d" % number for number in range(300)]
    assert counted.requests <= seconds / URGENT_SECONDS + 2


def test_a_replaced_object_is_written_when_it_changed(store: ObjectStore) -> None:
    counted, asked = Breaking(store, lambda number, name: None), []

    def content() -> bytes | None:
        asked.append(counted.requests)
        return None if len(asked) < 4 else b"1"

    with Writer(counted, 0.02) as writer:
        writer.replace("status.json", content)
        wait_for("ten flushes", lambda: len(asked) >= 10, 60)
    assert asked[:4] == [0, 0, 0, 0]
    assert counted.requests == 1
    assert store.read("status.json") == b"1"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_killed_at_any_moment_no_line_is_broken_and_what_was_flushed_stays(
    store: ObjectStore, tmp_path: Path, number: int
) -> None:
    command = [sys.executable, "-m", "tests.run.appending", str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            wait_for("the second segment", lambda: len(list(store.list("rows/"))) > 1 + number, 60)
            before = len(lines(store))
        finally:
            os.kill(process.pid, signal.SIGKILL)
    found = lines(store)
    assert len(found) >= before > 100
    assert found == [
        b'{"row": %06d, "%s": 0}' % (index, b"x" * 10000) for index in range(len(found))
    ]
