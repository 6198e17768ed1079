"""Append records to a store, whose objects can only be written whole.

Records are collected in segments, which are rewritten while small and final when full. One
background thread of the process writes them, so appending never waits for the store; a long outage
costs the oldest waiting segments. A killed process loses what it appended since the last flush. A
store's writes are whole, so a segment never ends inside a record.

    with Writer(store, every_seconds=10) as writer:
        rows = writer.open(lambda number: f"metrics/{number:06d}.jsonl")
        rows.append(b'{"step": 20}\n')
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from job.config.errors import StorageError
from job.storage.store import ObjectStore

SEGMENT_BYTES = 1 << 20
MAX_WAITING = 16  # full segments that the store has not taken yet
# After so many segments of a series (1 GB) one record in 2 is kept, and after each further quarter
# of them one in 4, 8, ...: a history never ends, and a flood of log lines takes only a few GB.
MAX_WHOLE_SEGMENTS = 1000
_GOLDEN_RATIO = 0.6180339887498949  # its multiples are spread evenly among alternating records
CLOSE_SECONDS = 10.0
MAX_WAIT_SECONDS = 60.0
URGENT_SECONDS = 1.0  # between two writes: in a flood of warnings each requests one

log = logging.getLogger("dcgan.records")


class Segments:
    """One series of segments, each starting with ``head``. Any thread may call ``append``."""

    def __init__(self, key: Callable[[int], str], head: bytes, wake: Callable[[], None]):
        self._key, self._head, self._wake = key, head, wake
        self._lock = threading.Lock()
        self._number = 1
        self._current = bytearray(head)
        self._waiting: dict[int, bytes] = {}
        self._written_bytes = len(head)  # of the current segment
        self._num_records = 0
        self._has_warned = False
        self.num_lost = 0
        """Full segments that were dropped because the store failed."""

    def append(self, record: bytes, soon: bool = False) -> None:
        """Add ``record``; with ``soon`` the writer does not wait for its next interval."""
        with self._lock:
            self._num_records += 1
            if self._num_records * _GOLDEN_RATIO % 1 >= 1 / self._kept_one_in():
                return
            is_full = (
                len(self._current) > len(self._head)
                and len(self._current) + len(record) > SEGMENT_BYTES
            )
            if is_full:
                self._waiting[self._number] = bytes(self._current)
                if len(self._waiting) > MAX_WAITING:
                    del self._waiting[min(self._waiting)]
                    self.num_lost += 1
                self._number += 1
                self._current = bytearray(self._head)
                self._written_bytes = len(self._head)
            self._current += record
        if soon:
            self._wake()

    def _kept_one_in(self) -> int:
        further = self._number - MAX_WHOLE_SEGMENTS
        return 1 if further <= 0 else 2 ** (1 + (further - 1) // max(1, MAX_WHOLE_SEGMENTS // 4))

    def flush(self, store: ObjectStore) -> None:
        """Write what the store does not have yet; keep it if that raises ``StorageError``."""
        with self._lock:
            full = dict(self._waiting)
            number, current = self._number, bytes(self._current)
            is_new = len(current) > self._written_bytes
        for full_number, data in full.items():
            store.write(self._key(full_number), data)
            with self._lock:
                self._waiting.pop(full_number, None)
        if is_new:
            store.write(self._key(number), current)
            with self._lock:
                if number == self._number:
                    self._written_bytes = len(current)
        if self._number > MAX_WHOLE_SEGMENTS and not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s/%s: this series of records has over %d segments; from here on only some records"
                " are kept, ever fewer the longer it grows",
                store.uri,
                self._key(MAX_WHOLE_SEGMENTS + 1),
                MAX_WHOLE_SEGMENTS,
            )


class Writer:
    """A thread that flushes every ``every_seconds``, and at its end for at most ``close_seconds``.

    A context manager.
    """

    def __init__(
        self, store: ObjectStore, every_seconds: float, *, close_seconds: float = CLOSE_SECONDS
    ):
        self._store, self._close_seconds = store, close_seconds
        self._every_seconds = max(every_seconds, 0.05)
        self._segments: list[Segments] = []
        self._replaced: dict[str, Callable[[], bytes | None]] = {}
        self._written: dict[str, bytes] = {}
        self._later: SimpleQueue[Callable[[ObjectStore], object]] = SimpleQueue()
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._failing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)

    def open(self, key: Callable[[int], str], head: bytes = b"") -> Segments:
        """Return a new series; ``key`` gives the key of its segment 1, 2 and so on."""
        segments = Segments(key, head, self.flush_soon)
        self._segments.append(segments)
        return segments

    def replace(self, key: str, content: Callable[[], bytes | None]) -> None:
        """Write ``content()`` at ``key`` at each flush if it changed; None is not written."""
        self._replaced[key] = content

    def later(self, work: Callable[[ObjectStore], object]) -> None:
        """Let the thread do ``work`` before its next flush, in the order of calls."""
        self._later.put(work)

    def flush_soon(self) -> None:
        """Let the thread flush without waiting for its interval."""
        self._wanted.set()

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._wanted.set()
        self._thread.join(self._close_seconds)
        if self._thread.is_alive() or self._failing_since is not None:
            log.warning("%s: the last of the run's records were not written", self._store.uri)
        if num_lost := sum(segments.num_lost for segments in self._segments):
            log.warning(
                "%s: %d segments were given up, because the store took none",
                self._store.uri,
                num_lost,
            )

    def _run(self) -> None:
        wait_seconds, is_last, flushed_at = self._every_seconds, False, -math.inf
        while not is_last:
            self._wanted.wait(wait_seconds)
            self._closing.wait(
                max(0.0, flushed_at + min(URGENT_SECONDS, self._every_seconds) - time.monotonic())
            )
            if self._failing_since is not None:  # errors about a failing store must not flood it
                self._closing.wait(wait_seconds)
            self._wanted.clear()
            is_last = self._closing.is_set()  # before the flush, which then has all records
            is_written, flushed_at = self._flush(), time.monotonic()
            max_wait = max(MAX_WAIT_SECONDS, self._every_seconds)
            wait_seconds = self._every_seconds if is_written else min(2 * wait_seconds, max_wait)

    def _flush(self) -> bool:
        try:
            while not self._later.empty():
                self._later.get()(self._store)
            for segments in list(self._segments):
                segments.flush(self._store)
            for key, content in list(self._replaced.items()):
                data = content()
                if data is not None and data != self._written.get(key):
                    self._store.write(key, data)
                    self._written[key] = data
        except StorageError as error:
            self._fails(str(error))
            return False
        except Exception as error:  # records must not end a run
            self._fails(f"{type(error).__name__}: {error}")
            return False
        if self._failing_since is not None:
            log.info(
                "records are written again, after %.0f s", time.monotonic() - self._failing_since
            )
            self._failing_since = None
        return True

    def _fails(self, text: str) -> None:
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            log.warning(
                "metrics and logs are not written to the run folder, still trying: %s", text
            )
