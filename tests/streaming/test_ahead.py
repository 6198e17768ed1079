"""Fetch-ahead: what is needed sooner comes sooner, what is past goes, nothing beyond a worker's share of the budget."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import StorageError
from job.data.index import read_index
from job.data.order import needs, runs_at, worker_slots
from job.storage.store import Interrupted
from job.streaming.cache_folder import CacheFolder
from job.streaming.reader import Reader
from tests.streaming.sets import RemoteStore, numbers_of, open_reader, order_of, pack_numbered
from tests.streaming.test_fetch import Heard

BATCH, SHARD_BYTES = 12, 120  # 20 images of 6 bytes a shard


class Listening(Heard):
    """Keeps what fetch-ahead tells."""

    def __init__(self) -> None:
        super().__init__()
        self.num_fetched = self.num_found = self.most_bytes = 0
        self.depths: list[int] = []
        self._changed = threading.Condition()

    def fetched(self, seconds: float) -> None:
        with self._changed:
            self.num_fetched += 1
            self._changed.notify_all()

    def wait_for_fetched(self, number: int) -> None:
        """Until so many shards were fetched in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.num_fetched >= number, 30), f"{self.num_fetched} fetched; expected {number}"

    def found(self) -> None:
        self.num_found += 1

    def cache_holds(self, num_bytes: int) -> None:
        self.most_bytes = max(self.most_bytes, num_bytes)

    def ahead(self, num_batches: int) -> None:
        self.depths.append(num_batches)


def read_steps(reader: Reader, start: int, stop: int) -> None:
    for step in range(start, stop, 10):
        reader.chunk(step, 10)


@pytest.fixture
def store(tmp_path: Path) -> RemoteStore:
    """3,000 images in 150 shards; an epoch is 250 steps of 12 lanes, and a lane reads a shard in 20 steps."""
    pack_numbered(tmp_path / "set", 3000, 20)
    return RemoteStore(tmp_path / "set")


def test_a_warm_epoch_fetches_every_shard_once(store: RemoteStore, tmp_path: Path) -> None:
    heard = Listening()
    with open_reader(store, tmp_path / "cache", listener=heard) as reader:
        seen = np.concatenate([numbers_of(reader.chunk(step, 10)).ravel() for step in range(0, 250, 10)])
        assert len(np.unique(seen)) == 3000
        reader.chunk(250, 10)
    assert Counter(store.streamed) == {shard.name: 1 for shard in read_index(store).shards}
    assert (heard.num_fetched, heard.bytes, heard.requests) == (150, 18_000, 150)


def test_a_small_cache_still_fetches_every_shard_once_an_epoch(store: RemoteStore, tmp_path: Path) -> None:
    """Room for 40 shards of 150: what is fetched ahead never pushes out what is still to be read."""
    heard = Listening()
    with open_reader(store, tmp_path / "cache", listener=heard, cache_bytes=40 * SHARD_BYTES) as reader:
        for step in range(0, 250, 10):
            reader.chunk(step, 10)
            with CacheFolder(tmp_path / "cache").locked():
                assert sum(file.num_bytes for file in CacheFolder(tmp_path / "cache").files()) <= 40 * SHARD_BYTES
    assert heard.num_fetched <= 150 * 1.1
    assert 20 * SHARD_BYTES < heard.most_bytes <= 40 * SHARD_BYTES


def test_no_more_is_fetched_than_is_asked_ahead(store: RemoteStore, tmp_path: Path) -> None:
    heard = Listening()
    order = order_of(read_index(store), BATCH)
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=30) as reader:
        reader.chunk(0, 10)
        reader.chunk(10, 10)
    wanted = {need.shard for need in needs(order, worker_slots(order, 0, 1), 0, 200) if need.first_step < 50}
    assert heard.num_fetched <= len(wanted)
    assert all(depth <= 30 for depth in heard.depths)


def test_nothing_is_fetched_ahead_when_none_is_asked(store: RemoteStore, tmp_path: Path) -> None:
    heard, order = Listening(), order_of(read_index(store), BATCH)
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=0) as reader:
        reader.chunk(0, 1)
    assert heard.num_fetched == len({run.shard for run in runs_at(order, 0, 1, worker_slots(order, 0, 1))})
    assert heard.depths == [0]


def test_the_depth_counts_batches_that_are_all_there(store: RemoteStore, tmp_path: Path) -> None:
    heard = Listening()
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=100) as reader:
        read_steps(reader, 0, 500)
    assert heard.depths[0] < 100
    assert heard.depths[-1] == 100  # in the second epoch all are there


def test_the_second_epoch_comes_from_the_cache(store: RemoteStore, tmp_path: Path) -> None:
    heard = Listening()
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=20) as reader:
        read_steps(reader, 0, 750)
    assert heard.num_fetched == 150
    assert heard.num_found > 100


def test_workers_of_a_machine_share_one_download(store: RemoteStore, tmp_path: Path) -> None:
    heard = [Listening(), Listening()]
    readers = [
        open_reader(store, tmp_path / "cache", worker=worker, num_workers=2, listener=heard[worker], fetch_ahead_batches=0)
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


def test_workers_apart_fetch_their_share(store: RemoteStore, tmp_path: Path) -> None:
    for num_workers in (2, 3, 4):
        for worker in range(num_workers):
            heard = Listening()
            with open_reader(store, tmp_path / f"{num_workers}-{worker}", worker=worker, num_workers=num_workers, listener=heard,
                             fetch_ahead_batches=0) as reader:  # fmt: skip
                read_steps(reader, 0, 250)
            assert heard.bytes <= 1.1 / num_workers * 18_000


def test_two_workers_in_a_cache_that_just_holds_them_never_wait_for_each_other(store: RemoteStore, tmp_path: Path) -> None:
    """In lockstep, as training is: each may take half, whatever the other fetched ahead."""
    readers = [
        open_reader(store, tmp_path / "cache", worker=worker, num_workers=2, cache_bytes=60 * SHARD_BYTES, fetch_patience_seconds=5)
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


def test_a_cache_that_is_all_in_use_ends_with_what_to_do(store: RemoteStore, tmp_path: Path) -> None:
    """By another run that holds it, as far as this one can tell."""
    options = {"cache_bytes": 30 * SHARD_BYTES, "fetch_patience_seconds": 0.2}
    heard = Listening()
    with open_reader(store, tmp_path / "cache", listener=heard, **options) as reader:
        reader.chunk(0, 1)
        heard.wait_for_fetched(30)
        with (
            open_reader(store, tmp_path / "cache", first_step=120, **options) as other,
            pytest.raises(
                StorageError, match=r"data.cache_bytes is 3.6 kB, and all of it has been in use by this and other runs for 0.2 s; .*raise"
            ),
        ):
            other.chunk(120, 1)


class DownFor(RemoteStore):
    """Out of reach while ``is_down`` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_down = threading.Event()

    def stream(self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]) -> None:
        if self.is_down.is_set():
            raise Interrupted("out of reach", "connection")
        super().stream(key, start, num_bytes, write)


def test_an_outage_costs_nothing_while_what_is_there_lasts(store: RemoteStore, tmp_path: Path) -> None:
    down = DownFor(store.root)
    heard, order = Listening(), order_of(read_index(store), BATCH)
    with open_reader(down, tmp_path / "cache", listener=heard, fetch_ahead_batches=50, fetch_patience_seconds=0.3) as reader:
        reader.chunk(0, 10)
        heard.wait_for_fetched(len({need.shard for need in needs(order, worker_slots(order, 0, 1), 0, 60)}))
        down.is_down.set()
        read_steps(reader, 10, 50)
        with pytest.raises(StorageError, match=r"out of reach; gave up after 0.3 s without a byte \(data.fetch_patience_seconds\)"):
            read_steps(reader, 50, 250)
