"""Download an object into an open file: ranges in parallel, retried until a deadline, hashed.

Knows bytes and requests, not what the file is for. A failed request resumes at its last byte; no
byte is downloaded twice.

    fetcher = Fetcher(store, connections=16, listener=NullListener())
    sha256 = fetcher.fetch("shard-00000.u8", 8 << 20, descriptor, Deadline(300))
"""

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from job.config.errors import StorageError
from job.storage import os_errors
from job.storage.retry import Deadline, retrying
from job.storage.store import Interrupted, ObjectStore
from job.streaming.events import StreamListener
from job.streaming.pace import Pace

RANGE_BYTES = 8 << 20  # larger files are downloaded in ranges of this size, several at a time
CREDENTIAL_SECONDS = 60.0  # credentials refused for longer are wrong, not about to be renewed
_HASH_BYTES = 1 << 20


class Stopped(Exception):
    """The fetcher was closed meanwhile."""


class TooShort(Exception):
    """The object is too short: it has only ``num_bytes``."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__(num_bytes)
        self.num_bytes = num_bytes


class Fetcher:
    """Downloads objects of ``store`` with at most ``connections`` requests at once.

    Threads share one.
    """

    def __init__(self, store: ObjectStore, connections: int, listener: StreamListener) -> None:
        self._store = store
        self._listener = listener
        self.pace = Pace(connections)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(connections, "fetch-range")

    def fetch(self, key: str, num_bytes: int, descriptor: int, deadline: Deadline) -> str:
        """Write the object of ``num_bytes`` into the open file and return its SHA-256, in hex.

        Raise ``TooShort`` if it is smaller, ``ObjectMissing`` if it does not exist,
        ``StorageError`` after ``deadline`` or if the disk refuses.
        """
        digest = hashlib.sha256()
        if num_bytes <= RANGE_BYTES:
            self._fetch_range(key, 0, num_bytes, descriptor, deadline, digest.update)
            return digest.hexdigest()
        starts = range(0, num_bytes, RANGE_BYTES)
        ranges: list[Future[None]] = []
        try:
            ranges.extend(
                self._pool.submit(
                    self._fetch_range,
                    key,
                    start,
                    min(start + RANGE_BYTES, num_bytes),
                    descriptor,
                    deadline,
                )
                for start in starts
            )
            for start, part in zip(starts, ranges, strict=True):
                part.result()
                for offset in range(start, min(start + RANGE_BYTES, num_bytes), _HASH_BYTES):
                    size = min(_HASH_BYTES, num_bytes - offset)
                    digest.update(os.pread(descriptor, size, offset))
        except RuntimeError as error:  # the pool was shut down meanwhile
            self._end(ranges)
            raise Stopped from error
        except BaseException:
            self._end(ranges)
            raise
        return digest.hexdigest()

    @staticmethod
    def _end(ranges: Sequence[Future[None]]) -> None:
        """Cancel and wait: no range may write into the file after the caller returns."""
        for part in ranges:
            part.cancel()
        for part in ranges:
            if not part.cancelled():
                part.exception()

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``; raise ``Stopped`` if the fetcher is closed meanwhile."""
        self._stop.wait(seconds)
        self.check_stopped()

    def check_stopped(self) -> None:
        """Raise ``Stopped`` if the fetcher is closed."""
        if self._stop.is_set():
            raise Stopped

    def interrupt(self) -> None:
        """Make downloads in flight raise ``Stopped`` at their next byte or error."""
        self._stop.set()
        self.pace.open()

    def close(self) -> None:
        """Interrupt, without waiting.

        A request to a silent store ends with its own timeout, in its own thread.
        """
        self.interrupt()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetch_range(
        self,
        key: str,
        start: int,
        stop: int,
        descriptor: int,
        deadline: Deadline,
        hashed: Callable[[bytes], object] = lambda piece: None,
    ) -> None:
        offset, refused_since = start, math.inf

        def write(piece: bytes) -> None:
            nonlocal offset
            self.check_stopped()
            self._write(key, descriptor, piece, offset)
            hashed(piece)
            offset += len(piece)
            deadline.extend()
            self._listener.received(len(piece))

        try:
            for attempt in retrying(lambda: deadline.is_over, sleep=self.wait):
                with attempt:
                    before = offset
                    try:
                        with self.pace.permit():
                            self.check_stopped()
                            self._listener.requested()
                            self._store.stream(key, offset, stop - offset, write)
                    except Interrupted as error:
                        if offset > before:  # it made progress: the waits start again
                            attempt.retry_state.attempt_number = 1
                        if error.reason == "throttled":
                            self.pace.slow_down()
                        self._listener.retried(error.reason)
                        refused_since = _refused_since(error, refused_since)
                        raise
                    self.pace.mark_succeeded()
                    if offset < stop:
                        raise TooShort(offset)
        except Interrupted as error:
            raise StorageError(
                f"{error}; gave up after {deadline.seconds:g} s without a byte"
                " (data.fetch_patience_seconds). Run the same command to resume from the last"
                " checkpoint when the store answers again"
            ) from None

    def _write(self, key: str, descriptor: int, piece: bytes, offset: int) -> None:
        try:
            written = 0
            while written < len(piece):  # a nearly full file system writes less than asked, once
                written += os.pwrite(descriptor, memoryview(piece)[written:], offset + written)
        except OSError as error:
            raise os_errors.storage_error(
                f"{self._store.uri.rstrip('/')}/{key}",
                "keep in data.cache_dir, within data.cache_bytes",
                error,
            ) from None


def _refused_since(error: Interrupted, since: float) -> float:
    """Return since when credentials are refused; raise ``StorageError`` if for too long."""
    if error.reason != "credentials":
        return math.inf
    since = min(since, time.monotonic())
    if time.monotonic() - since > CREDENTIAL_SECONDS:
        raise StorageError(
            f"{error}; gave up because no valid credentials appeared for {CREDENTIAL_SECONDS:.0f} s"
        )
    return since
