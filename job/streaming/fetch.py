"""From an object store into an open file: ranges in parallel, repeated until they are there or patience is over, hashed on the way.

Knows bytes and requests, not what the file is for. A request that broke off goes on where it stopped; nothing that arrived is fetched twice.

    fetcher = Fetcher(store, connections=16, listener=NullListener())
    sha256 = fetcher.fetch("shard-00000.u8", 8 << 20, descriptor, Patience(300))
"""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from job.config.errors import StorageError
from job.storage import os_errors
from job.storage.store import Interrupted, ObjectStore
from job.streaming.events import StreamListener
from job.streaming.pace import Pace, Patience, wait_seconds

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
        self._random = (
            random.Random()
        )  # seeded by the system: workers that failed together must not wait alike
        self.pace = Pace(connections)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(connections, "fetch-range")

    def fetch(self, key: str, num_bytes: int, descriptor: int, patience: Patience) -> str:
        """Write the object, ``num_bytes`` long, into the open file; the SHA-256, in hex, of what arrived.

        ``TooShort`` where it is smaller, ``ObjectMissing`` where it is not there, ``StorageError`` when patience is over or the disk refuses.
        """
        digest = hashlib.sha256()
        if num_bytes <= RANGE_BYTES:
            self._fetch_range(key, 0, num_bytes, descriptor, patience, digest.update)
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
                    patience,
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
        patience: Patience,
        hashed: Callable[[bytes], object] = lambda piece: None,
    ) -> None:
        place = start

        def write(piece: bytes) -> None:
            nonlocal place
            self._check()
            try:
                written = 0
                while written < len(
                    piece
                ):  # a file system that gets full writes less than it was given, once
                    written += os.pwrite(descriptor, memoryview(piece)[written:], place + written)
            except OSError as error:
                raise os_errors.storage_error(
                    f"{self._store.uri.rstrip('/')}/{key}",
                    "keep in data.cache_dir, within data.cache_bytes",
                    error,
                ) from None
            hashed(piece)
            place += len(piece)
            patience.progressed()
            self._listener.received(len(piece))

        attempt, refused_since = 0, float("inf")
        while place < stop:
            before = place
            try:
                with self.pace.permit():
                    self._check()
                    self._listener.requested()
                    self._store.stream(key, place, stop - place, write)
                self.pace.mark_succeeded()
                if place < stop:
                    raise TooShort(place)
            except Interrupted as error:
                attempt = 1 if place > before else attempt + 1
                refused_since = (
                    min(refused_since, time.monotonic())
                    if error.reason == "credentials"
                    else float("inf")
                )
                refused_seconds = time.monotonic() - refused_since
                if error.reason == "throttled":
                    self.pace.slow_down()
                self._listener.retried(error.reason)
                if patience.is_over or refused_seconds > CREDENTIAL_SECONDS:
                    raise self._gave_up(error, refused_seconds, patience) from None
                self.wait(wait_seconds(attempt, self._random.random()))

    def _gave_up(
        self, error: Interrupted, refused_seconds: float, patience: Patience
    ) -> StorageError:
        if refused_seconds > CREDENTIAL_SECONDS:
            return StorageError(
                f"{error}; gave up when no others had taken their place for {CREDENTIAL_SECONDS:.0f} s"
            )
        return StorageError(
            f"{error}; gave up after {patience.seconds:g} s without a byte (data.fetch_patience_seconds). The same command goes on from the"
            " last checkpoint when the store answers again"
        )
