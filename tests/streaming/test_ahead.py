"""Fetch-ahead: first needed first, past shards evicted, within a worker's share of the budget."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import StorageError
from job.data.index import Shard, read_index
from job.data.order import Need, needs, shard_reads, worker_positions
from job.storage.store import Interrupted
from job.streaming.ahead import FetchAhead
from job.streaming.cache import ShardCache, ShardDownload
from job.streaming.cache_folder import CacheFolder
from job.streaming.events import NullListener
from job.streaming.fetch import Fetcher, Stopped
from job.streaming.loader import ShardLoader
from job.streaming.reader import Reader
from tests.servers.prometheus import wait_for
from tests.streaming.sets import (
    Heard,
    RemoteStore,
    numbers_of,
    open_reader,
    order_of,
    pack_numbered,
)

BATCH, SHARD_BYTES = 12, 120  # 20 images of 6 bytes a shard


class RecordingListener(Heard):
    """Records the events of fetch-ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.num_fetched = self.num_found = self.max_bytes = 0
        self.depths: list[int] = []
        self._changed = threading.Condition()

    def fetched(self, seconds: float) -> None:
        with self._changed:
            self.num_fetched += 1
            self._changed.notify_all()

    def wait_for_fetched(self, number: int) -> None:
        """Until so many shards were fetched in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.num_fetched >= number, 30), (
                f"{self.num_fetched} fetched; expected {number}"
            )

    def found(self) -> None:
        self.num_found += 1

    def retried(self, reason: str) -> None:
        super().retried(reason)
        with self._changed:
            self._changed.notify_all()

    def wait_for_retry(self) -> bool:
        """Until something had to be repeated."""
        with self._changed:
            return self._changed.wait_for(lambda: self.reasons, 30)

    def cache_holds(self, num_bytes: int) -> None:
        self.max_bytes = max(self.max_bytes, num_bytes)

    def ahead(self, num_batches: int) -> None:
        self.depths.append(num_batches)


def read_steps(reader: Reader, start: int, stop: int) -> None:
    for step in range(start, stop, 10):
        reader.chunk(step, 10)


def test_a_warm_epoch_fetches_every_shard_once(store: RemoteStore, tmp_path: Path) -> None:
    heard = RecordingListener()
    with open_reader(store, tmp_path / "cache", listener=heard) as reader:
        seen = np.concatenate(
            [numbers_of(reader.chunk(step, 10)).ravel() for step in range(0, 250, 10)]
        )
        assert len(np.unique(seen)) == 3000
        reader.chunk(250, 10)
    assert Counter(store.streamed) == {shard.name: 1 for shard in read_index(store).shards}
    assert (heard.num_fetched, heard.bytes, heard.requests) == (150, 18_000, 150)


def test_a_small_cache_still_fetches_every_shard_once_an_epoch(
    store: RemoteStore, tmp_path: Path
) -> None:
    """Room for 40 shards of 150: loads ahead never evict shards that are still to be read."""
    heard = RecordingListener()
    with open_reader(
        store, tmp_path / "cache", listener=heard, cache_bytes=40 * SHARD_BYTES, stop_step=250
    ) as reader:
        for step in range(0, 250, 10):
            reader.chunk(step, 10)
            with CacheFolder(tmp_path / "cache").locked():
                assert (
                    sum(file.num_bytes for file in CacheFolder(tmp_path / "cache").files())
                    <= 40 * SHARD_BYTES
                )
    assert heard.num_fetched == 150
    assert 20 * SHARD_BYTES < heard.max_bytes <= 40 * SHARD_BYTES


def test_a_shard_that_the_reader_loaded_itself_is_kept_until_its_last_step(
    store: RemoteStore, tmp_path: Path
) -> None:
    """Room for three. The only thread waits for the first shard, so the reader loads the others."""
    shards = read_index(store).shards[:4]
    slow = Slow(store.root, shards[0].name)
    fetcher = Fetcher(slow, 2, NullListener())
    cache = ShardCache(tmp_path / "cache", 3 * SHARD_BYTES)
    ahead = FetchAhead(
        shards,
        iter([Need(0, 10, 0), Need(0, 20, 1), Need(0, 20, 2), Need(10, 20, 3)]),
        cache,
        ShardLoader(slow, cache, fetcher, True, NullListener()),
        ahead_steps=0,
        share_bytes=3 * SHARD_BYTES,
        patience_seconds=30,
        threads=1,
        check_stopped=fetcher.check_stopped,
        listener=NullListener(),
    )
    ahead.advance(0, 10)
    assert slow.is_asked.wait(30)
    for number in (1, 2):
        ahead.get(number, lambda: None).release()
    slow.may_answer.set()
    ahead.get(0, lambda: None).release()
    ahead.advance(10, 20)
    ahead.get(3, lambda: None).release()
    found = [cache.find(shard) for shard in shards]
    assert [cached is not None for cached in found] == [False, True, True, True]
    for cached in filter(None, found):
        cached.release()
    fetcher.interrupt()
    ahead.close()
    fetcher.close()


class Slow(RemoteStore):
    """Answers a request for ``key`` only after ``may_answer`` is set."""

    def __init__(self, root: Path, key: str) -> None:
        super().__init__(root)
        self._key, self.is_asked, self.may_answer = key, threading.Event(), threading.Event()

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        if key == self._key:
            self.is_asked.set()
            assert self.may_answer.wait(30)
        super().stream(key, start, num_bytes, write)


@pytest.mark.slow
def test_used_shards_are_evicted_before_needed_ones(tmp_path: Path) -> None:
    """Room for 256 of 600 shards: 4 are evicted at a time, and a step uses 0.6 of a shard."""
    pack_numbered(tmp_path / "set", 12_000, 20)
    heard, store = RecordingListener(), RemoteStore(tmp_path / "set")
    with open_reader(
        store,
        tmp_path / "cache",
        listener=heard,
        cache_bytes=256 * SHARD_BYTES,
        fetch_ahead_batches=10_000,
    ) as reader:
        for step in range(300):
            reader.chunk(step, 1)
            wait_for(
                "the share to be full", lambda step=step: heard.num_fetched >= 244 + 0.6 * step
            )
    assert Counter(store.streamed).most_common(1)[0][1] == 1  # none was removed before it was read


def test_no_more_is_loaded_than_fetch_ahead_batches(store: RemoteStore, tmp_path: Path) -> None:
    heard = RecordingListener()
    order = order_of(read_index(store), BATCH)
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=30) as reader:
        reader.chunk(0, 10)
        reader.chunk(10, 10)
    wanted = {
        need.shard
        for need in needs(order, worker_positions(order, 0, 1), 0, 200)
        if need.first_step < 50
    }
    assert heard.num_fetched <= len(wanted)
    assert all(depth <= 30 for depth in heard.depths)


def test_nothing_is_loaded_ahead_with_zero_batches(store: RemoteStore, tmp_path: Path) -> None:
    heard, order = RecordingListener(), order_of(read_index(store), BATCH)
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=0) as reader:
        reader.chunk(0, 1)
    assert heard.num_fetched == len(
        {run.shard for run in shard_reads(order, 0, 1, worker_positions(order, 0, 1))}
    )
    assert heard.depths == [0]


def test_the_depth_counts_batches_that_are_cached(store: RemoteStore, tmp_path: Path) -> None:
    heard = RecordingListener()
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=100) as reader:
        read_steps(reader, 0, 500)
    assert heard.depths[0] < 100
    assert heard.depths[-1] == 100  # in the second epoch all are there


def test_the_second_epoch_comes_from_the_cache(store: RemoteStore, tmp_path: Path) -> None:
    heard = RecordingListener()
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=20) as reader:
        read_steps(reader, 0, 750)
    assert heard.num_fetched == 150
    assert heard.num_found > 100


def test_workers_of_a_host_share_one_download(store: RemoteStore, tmp_path: Path) -> None:
    heard = [RecordingListener(), RecordingListener()]
    readers = [
        open_reader(
            store,
            tmp_path / "cache",
            worker=worker,
            num_workers=2,
            listener=heard[worker],
            fetch_ahead_batches=0,
        )
        for worker in (0, 1)
    ]
    for step in range(0, 250, 10):
        for reader in readers:
            reader.chunk(step, 10)
    for reader in readers:
        reader.close()
    assert sum(listening.num_fetched for listening in heard) == 150
    assert Counter(store.streamed).most_common(1)[0][1] == 1
    for listening in heard:
        assert listening.num_fetched <= 1.1 * 150 / 2


@pytest.mark.slow
def test_workers_on_different_hosts_download_their_share(
    store: RemoteStore, tmp_path: Path
) -> None:
    for num_workers in (2, 3, 4):
        for worker in range(num_workers):
            heard = RecordingListener()
            with open_reader(
                store,
                tmp_path / f"{num_workers}-{worker}",
                worker=worker,
                num_workers=num_workers,
                listener=heard,
                fetch_ahead_batches=0,
            ) as reader:
                read_steps(reader, 0, 250)
            assert heard.bytes <= 1.1 / num_workers * 18_000


@pytest.mark.slow
def test_two_workers_in_a_cache_that_just_holds_them_never_wait_for_each_other(
    store: RemoteStore, tmp_path: Path
) -> None:
    """In lockstep, as training is: each may take half, whatever the other fetched ahead."""
    readers = [
        open_reader(
            store,
            tmp_path / "cache",
            worker=worker,
            num_workers=2,
            cache_bytes=60 * SHARD_BYTES,
            fetch_patience_seconds=5,
        )
        for worker in (0, 1)
    ]
    together = threading.Barrier(2)
    failed: list[BaseException] = []

    def read(worker: int) -> None:
        try:
            for step in range(0, 500, 10):
                readers[worker].chunk(step, 10)
                together.wait(30)
        except BaseException as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=read, args=(worker,)) for worker in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reader in readers:
        reader.close()
    assert failed == []


@pytest.mark.slow
def test_runs_share_a_cache_that_either_could_fill(tmp_path: Path) -> None:
    """Shards that one run loaded ahead or keeps are evicted for shards the other reads now."""
    options = {"cache_bytes": 50 * SHARD_BYTES, "fetch_patience_seconds": 5}
    heard = RecordingListener()
    stores = []
    for name in ("first", "second"):
        pack_numbered(
            tmp_path / name, 3000, 20, height=2 + (name == "second"), width=3 - (name == "second")
        )
        stores.append(RemoteStore(tmp_path / name))
    with open_reader(stores[0], tmp_path / "cache", listener=heard, **options) as first:
        first.chunk(0, 10)
        heard.wait_for_fetched(50)
        with open_reader(stores[1], tmp_path / "cache", **options) as second:
            for step in range(10, 250, 10):
                first.chunk(step, 10)
                second.chunk(step - 10, 10)


@pytest.mark.slow
def test_a_shard_that_other_positions_of_a_stream_need_is_not_waited_for(tmp_path: Path) -> None:
    """A worker with two of a stream's seven positions loads shards that it never reads."""
    pack_numbered(tmp_path / "set", 980, 1)

    class Partly(RemoteStore):
        def stream(
            self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
        ) -> None:
            if key not in readable:
                raise Interrupted("out of reach", "connection")
            super().stream(key, start, num_bytes, write)

    store = Partly(tmp_path / "set")
    index = read_index(store)
    order = order_of(index, 98)
    positions = worker_positions(order, 0, 49)
    assert (order.stream_width, positions.size) == (7, 2)
    readable = {index.shards[run.shard].name for run in shard_reads(order, 0, 10, positions)}
    needed = {index.shards[need.shard].name for need in needs(order, positions, 0, 10)}
    assert len(needed - readable) > 10
    with open_reader(
        store,
        tmp_path / "cache",
        batch=98,
        num_workers=49,
        fetch_ahead_batches=0,
        connections=16,
        fetch_patience_seconds=5,
    ) as reader:
        for step in range(0, 10, 2):
            reader.chunk(step, 2)


@pytest.mark.parametrize("where", ["waiting for the store", "waiting for room"])
def test_closing_ends_a_reader_that_waits_in_another_thread(
    tmp_path: Path, store: RemoteStore, where: str
) -> None:
    down = DownFor(store.root)
    others = []
    if where == "waiting for room":
        cache = ShardCache(tmp_path / "cache", 12 * 120)
        others = [
            cache.claim(Shard(f"other-{number}.u8", 20, 120, f"{number:064x}", None))
            for number in range(12)
        ]
    else:
        down.is_down.set()
    heard = RecordingListener()
    reader = open_reader(
        down, tmp_path / "cache", listener=heard, cache_bytes=12 * 120, connections=2
    )
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.chunk, 0, 10)
        assert where == "waiting for room" or heard.wait_for_retry()
        started = time.monotonic()
        reader.close()
        assert isinstance(reading.exception(10), Stopped)
    assert time.monotonic() - started < 5
    with pytest.raises(Stopped):
        reader.chunk(10, 10)
    for claim in others:
        assert isinstance(claim, ShardDownload)
        claim.abandon()


class DownFor(RemoteStore):
    """Out of reach while ``is_down`` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_down = threading.Event()

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        if self.is_down.is_set():
            raise Interrupted("out of reach", "connection")
        super().stream(key, start, num_bytes, write)


def test_an_outage_costs_nothing_while_loaded_shards_last(
    store: RemoteStore, tmp_path: Path
) -> None:
    down = DownFor(store.root)
    heard, order = RecordingListener(), order_of(read_index(store), BATCH)
    with open_reader(
        down, tmp_path / "cache", listener=heard, fetch_ahead_batches=50, fetch_patience_seconds=0.3
    ) as reader:
        reader.chunk(0, 10)
        heard.wait_for_fetched(
            len({need.shard for need in needs(order, worker_positions(order, 0, 1), 0, 60)})
        )
        down.is_down.set()
        read_steps(reader, 10, 50)
        with pytest.raises(
            StorageError,
            match=(
                r"out of reach; gave up after 0.3 s without a byte"
                r" \(data.fetch_patience_seconds\)"
            ),
        ):
            read_steps(reader, 50, 250)


class BusyUntilRead(RemoteStore):
    """Answers "slow down" to the first request of each shard of the first call."""

    def __init__(self, root: Path, first: set[str]) -> None:
        super().__init__(root)
        self._lock, self._refused, self._first = threading.Lock(), set[str](), first

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        with self._lock:
            is_refused = key in self._first - self._refused
            self._refused.add(key)
        if is_refused:
            raise Interrupted("slow down", "throttled")
        super().stream(key, start, num_bytes, write)


def test_a_busy_store_serves_the_first_call_before_what_is_ahead(
    store: RemoteStore, tmp_path: Path
) -> None:
    index = read_index(store)
    order = order_of(index, BATCH)
    first = {
        index.shards[need.shard].name for need in needs(order, worker_positions(order, 0, 1), 0, 10)
    }
    busy, heard = BusyUntilRead(store.root, first), RecordingListener()
    with open_reader(
        busy, tmp_path / "cache", listener=heard, fetch_ahead_batches=30, connections=16
    ) as reader:
        reader.chunk(0, 10)
        heard.wait_for_fetched(len(first) + 1)
    assert set(busy.streamed[: len(first)]) == first
