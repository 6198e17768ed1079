"""Downloads: whole, hashed, in parallel; failed requests resume; errors keep their cause."""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.storage.local import LocalStore
from job.storage.retry import Deadline
from job.storage.store import Interrupted, ObjectMissing, Reason
from job.streaming import fetch
from job.streaming.fetch import RANGE_BYTES, Fetcher, Stopped, TooShort
from tests.streaming.sets import Heard

SIZE = 3 * RANGE_BYTES + 12345


class BreakingStore(LocalStore):
    """Hands over ``given`` bytes of each of the next requests, then breaks off for ``reason``."""

    def __init__(self, root: Path, breaks: list[tuple[int, Reason]]) -> None:
        super().__init__(root)
        self.breaks = breaks
        self.asked: list[tuple[int, int]] = []

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        self.asked.append((start, num_bytes))
        if self.breaks:
            given, reason = self.breaks.pop(0)
            super().stream(key, start, min(given, num_bytes), write)
            raise Interrupted(f"{self.uri}/{key}: broke off", reason)
        super().stream(key, start, num_bytes, write)


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    content = hashlib.shake_128(b"fetch").digest(SIZE)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "large").write_bytes(content)
    (tmp_path / "store" / "small").write_bytes(content[:1000])
    return content


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "fetched", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def impatient(seconds: float = 0.0) -> Deadline:
    deadline = Deadline(seconds)
    deadline.start()
    return deadline


@pytest.mark.parametrize(("key", "size", "requests"), [("large", SIZE, 4), ("small", 1000, 1)])
def test_a_file_is_fetched_whole_in_ranges(
    tmp_path: Path, data: bytes, descriptor: int, key: str, size: int, requests: int
) -> None:
    heard = Heard()
    fetcher = Fetcher(LocalStore(tmp_path / "store"), 4, heard)
    assert (
        fetcher.fetch(key, size, descriptor, impatient(10))
        == hashlib.sha256(data[:size]).hexdigest()
    )
    assert os.pread(descriptor, SIZE, 0) == data[:size]
    assert (heard.requests, heard.bytes, heard.reasons) == (requests, size, Counter())
    fetcher.close()


def test_a_failed_request_resumes_at_its_last_byte(
    tmp_path: Path, data: bytes, descriptor: int
) -> None:
    store = BreakingStore(
        tmp_path / "store",
        [(300, "connection"), (0, "server_error"), (200, "truncated"), (0, "timeout")],
    )
    heard = Heard()
    fetcher = Fetcher(store, 4, heard)
    assert (
        fetcher.fetch("small", 1000, descriptor, impatient(60))
        == hashlib.sha256(data[:1000]).hexdigest()
    )
    assert store.asked == [(0, 1000), (300, 700), (300, 700), (500, 500), (500, 500)]
    assert heard.bytes == 1000
    assert heard.reasons == {"connection": 1, "server_error": 1, "truncated": 1, "timeout": 1}
    fetcher.close()


def test_a_throttling_server_gets_fewer_requests(
    tmp_path: Path, data: bytes, descriptor: int
) -> None:
    fetcher = Fetcher(BreakingStore(tmp_path / "store", [(0, "throttled")]), 4, Heard())
    fetcher.fetch("small", 1000, descriptor, impatient(60))
    assert fetcher.pace.limit == pytest.approx(2.5)
    fetcher.close()


def test_after_the_deadline_the_error_has_cause_and_remedy(
    tmp_path: Path, data: bytes, descriptor: int
) -> None:
    fetcher = Fetcher(BreakingStore(tmp_path / "store", [(0, "throttled")] * 1000), 4, Heard())
    with pytest.raises(
        StorageError,
        match=(
            r"/small: broke off; gave up after 0 s without a byte \(data.fetch_patience_seconds\)."
            r" Run the same command to resume"
        ),
    ):
        fetcher.fetch("small", 1000, descriptor, impatient())
    fetcher.close()


@pytest.mark.slow
def test_a_deadline_that_was_not_started_never_ends(
    tmp_path: Path, data: bytes, descriptor: int
) -> None:
    fetcher = Fetcher(BreakingStore(tmp_path / "store", [(0, "connection")] * 4), 4, Heard())
    assert (
        fetcher.fetch("small", 1000, descriptor, Deadline(0.0))
        == hashlib.sha256(data[:1000]).hexdigest()
    )
    fetcher.close()


def test_credentials_refused_for_long_end_the_download(
    tmp_path: Path, data: bytes, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CREDENTIAL_SECONDS", 0.3)
    store = BreakingStore(tmp_path / "store", [(0, "credentials")] * 1000)
    fetcher = Fetcher(store, 4, Heard())
    with pytest.raises(
        StorageError, match="broke off; gave up because no valid credentials appeared"
    ):
        fetcher.fetch("small", 1000, descriptor, Deadline(10**6))
    assert 2 <= len(store.asked) <= 8
    fetcher.close()


@pytest.mark.parametrize("key", ["large", "small"])
def test_a_file_that_is_too_short(tmp_path: Path, data: bytes, descriptor: int, key: str) -> None:
    size = (tmp_path / "store" / key).stat().st_size
    fetcher = Fetcher(LocalStore(tmp_path / "store"), 4, Heard())
    with pytest.raises(TooShort) as caught:
        fetcher.fetch(key, size + 1, descriptor, impatient(10))
    assert caught.value.num_bytes == size
    fetcher.close()


def test_a_file_that_is_missing(tmp_path: Path, data: bytes, descriptor: int) -> None:
    fetcher = Fetcher(LocalStore(tmp_path / "store"), 4, Heard())
    for size in (1000, SIZE):
        with pytest.raises(ObjectMissing, match="store/gone: there is no such object"):
            fetcher.fetch("gone", size, descriptor, impatient(10))
    fetcher.close()


def test_an_error_of_the_disk_is_reported(tmp_path: Path, data: bytes) -> None:
    read_only = os.open(tmp_path / "store" / "small", os.O_RDONLY)
    fetcher = Fetcher(LocalStore(tmp_path / "store"), 4, Heard())
    with pytest.raises(
        StorageError,
        match=(
            r"store/small: cannot keep in data\.cache_dir, within data\.cache_bytes: Bad file"
            r" descriptor"
        ),
    ):
        fetcher.fetch("small", 1000, read_only, impatient(10))
    fetcher.close()
    os.close(read_only)


def test_closing_ends_a_waiting_download(tmp_path: Path, data: bytes, descriptor: int) -> None:
    broke_off = threading.Event()

    class AttemptRecord(Heard):
        def retried(self, reason: str) -> None:
            super().retried(reason)
            broke_off.set()

    fetcher = Fetcher(
        BreakingStore(tmp_path / "store", [(0, "connection")] * 1000), 4, AttemptRecord()
    )
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(fetcher.fetch, "small", 1000, descriptor, Deadline(10**6))
        assert broke_off.wait(10)
        fetcher.close()
        assert isinstance(fetching.exception(10), Stopped)
