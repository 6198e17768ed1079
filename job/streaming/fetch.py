"""From an object store into an open file: ranges in parallel, repeated until they are there or deadline is over, hashed on the way.

Knows bytes and requests, not what the file is for. A request that broke off goes on where it stopped; nothing that arrived is fetched twice.

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

RANGE_BYTES = 8 << 20  # larger files go in ranges of this size, several at a time
CREDENTIAL_SECONDS = (
    60.0  # credentials that are refused for so long are wrong, not about to be renewed
)
_HASH_BYTES = 1 << 20


class Stopped(Exception):
    """The fetcher was closed while it worked."""


class TooShort(Exception):
    """The object ends before it should; ``num_bytes`` are there."""

    def __init__(self, num_bytes: int) -> None:
        super().__init__(num_bytes)
        self.num_bytes = num_bytes


class Fetcher:
    """Fetches objects of ``store`` with at most ``connections`` requests at once. Threads share one."""

    def __init__(self, store: ObjectStore, connections: int, listener: StreamListener) -> None:
        self._store = store
        self._listener = listener
        self.pace = Pace(connections)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(connections, "fetch-range")

    def fetch(self, key: str, num_bytes: int, descriptor: int, deadline: Deadline) -> str:
        """Write the object, ``num_bytes`` long, into the open file; the SHA-256, in hex, of what arrived.

        ``TooShort`` where it is smaller, ``ObjectMissing`` where it is not there, ``StorageError`` when deadline is over or the disk refuses.
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
                for place in range(start, min(start + RANGE_BYTES, num_bytes), _HASH_BYTES):
                    digest.update(os.pread(descriptor, min(_HASH_BYTES, num_bytes - place), place))
        except RuntimeError as error:  # the pool was shut down meanwhile
            self._end(ranges)
            raise Stopped from error
        except BaseException:
            self._end(ranges)
            raise
        return digest.hexdigest()

    @staticmethod
    def _end(ranges: Sequence[Future[None]]) -> None:
        """None may write into the file once the caller goes on."""
        for part in ranges:
            part.cancel()
        for part in ranges:
            if not part.cancelled():
                part.exception()

    def wait(self, seconds: float) -> None:
        """Do nothing for so long; ``Stopped`` where the fetcher is closed meanwhile."""
        self._stop.wait(seconds)
        self._check()

    def interrupt(self) -> None:
        """End what is under way, with ``Stopped``, as soon as it has an answer."""
        self._stop.set()
        self.pace.open()

    def close(self) -> None:
        """``interrupt``, and no more of it; what waits for a silent store ends with its own timeout, in its own thread."""
        self.interrupt()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _fetch_range(
        self,
        key: str,
        start: int,
        stop: int,
        descriptor: int,
        deadline: Deadline,
        hashed: Callable[[bytes], object] = lambda piece: None,
    ) -> None:
        place, refused_since = start, math.inf

        def write(piece: bytes) -> None:
            nonlocal place
            self._check()
            self._write(key, descriptor, piece, place)
            hashed(piece)
            place += len(piece)
            deadline.extend()
            self._listener.received(len(piece))

        try:
            for attempt in retrying(lambda: deadline.is_over, sleep=self.wait):
                with attempt:
                    before = place
                    try:
                        with self.pace.permit():
                            self._check()
                            self._listener.requested()
                            self._store.stream(key, place, stop - place, write)
                    except Interrupted as error:
                        if place > before:  # it made progress: the waits start again
                            attempt.retry_state.attempt_number = 1
                        if error.reason == "throttled":
                            self.pace.slow_down()
                        self._listener.retried(error.reason)
                        refused_since = _refused_since(error, refused_since)
                        raise
                    self.pace.mark_succeeded()
                    if place < stop:
                        raise TooShort(place)
        except Interrupted as error:
            raise StorageError(
                f"{error}; gave up after {deadline.seconds:g} s without a byte"
                " (data.fetch_patience_seconds). Run the same command to resume from the last"
                " checkpoint when the store answers again"
            ) from None

    def _write(self, key: str, descriptor: int, piece: bytes, place: int) -> None:
        try:
            written = 0
            while written < len(piece):  # a nearly full file system writes less than asked, once
                written += os.pwrite(descriptor, memoryview(piece)[written:], place + written)
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
