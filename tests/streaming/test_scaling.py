"""The model of docs/scaling.md counts the requests that the program makes."""

from pathlib import Path

import numpy as np
import pytest

from bench import scaling
from bench.scaling_start import Client, Clock, Plan, Store, simulate_start
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.checkpoints.retention import Known, prune
from job.checkpoints.writer import claim
from job.config.spec import CheckpointSpec
from job.data.index import read_index
from job.data.order import Order
from job.run.lease import acquire, check_holder
from job.storage.local import LocalStore
from tests.streaming.sets import Heard, RemoteStore, open_reader, order_of


class CountingStore:
    """A store that counts what would be requests to S3."""

    def __init__(self, store: LocalStore) -> None:
        self._store, self.requests = store, 0

    def __getattr__(self, name: str) -> object:
        if name in ("read", "read_range", "stat", "write", "write_if", "list", "delete"):
            self.requests += 1
        return getattr(self._store, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_workers", "streams"), [(1, None), (2, None), (4, None), (4, 2), (12, 2)]
)
def test_an_epoch_downloads_the_shards_of_the_model(
    store: RemoteStore, tmp_path: Path, num_workers: int, streams: int | None
) -> None:
    """Each worker on its own machine; of two streams several workers read the same shards."""
    index = read_index(store)
    order = order_of(index, streams=streams)
    heard = Heard()
    for worker in range(num_workers):
        with open_reader(
            store,
            tmp_path / f"cache{worker}",
            worker=worker,
            num_workers=num_workers,
            streams=streams,
            stop_step=order.steps_per_epoch,
            listener=heard,
        ) as reader:
            reader.chunk(0, order.steps_per_epoch)
    counted = scaling.gets(order, num_workers, index.shards[0].num_bytes)
    assert heard.requests == len(store.streamed)
    if streams is None:
        assert heard.requests == counted
        return
    # A worker may close before it has a shard whose rows in its stream are all another worker's.
    assert 0 <= counted - heard.requests <= num_workers
    assert counted == pytest.approx(len(index.shards) * num_workers / streams, rel=0.1)


def test_a_checkpoint_takes_the_requests_of_the_model(tmp_path: Path) -> None:
    store = CountingStore(LocalStore(tmp_path))
    checkpoints = Checkpoints(store)
    parts = {f"part{number}.npz": b"1234" for number in range(3)}
    with acquire(LocalStore(tmp_path), 30.0, note=lambda text: None) as lease:
        check_claim = claim(store, "20260102T030405Z-000")

        def check_owner() -> None:
            check_holder(store, lease.token)
            check_claim()

        known: Known = {}

        def save(step: int) -> None:
            facts = Manifest(step, 0, "now", {}, "0" * 64, {}, 1, {}, {}, ())
            checkpoints.save(facts, parts, check_owner=check_owner)
            prune(checkpoints, CheckpointSpec(keep=1), step, check_owner, known)

        save(1)
        store.requests = 0
        save(2)
        assert store.requests == scaling.save_requests((4, 4, 4))
    store.requests = 0
    checkpoints.read(checkpoints.manifest(2))
    assert store.requests == scaling.restore_requests(3)


def test_the_store_grants_its_limit_and_refused_requests_come_again() -> None:
    clock = Clock()
    store = Store(clock, per_second=100)
    done: list[int] = []
    for seed in range(20):
        Client(clock, store, 16, seed).download(["data"] * 50, 0.0, done.append)
    clock.run(5.0)
    assert 500 <= store.granted <= 100 + 5 * 100  # the tokens of a second, then its rate
    assert store.refused > 0
    clock.run(60.0)
    assert len(done) == store.granted == 1000


def test_starting_workers_read_what_the_model_counts() -> None:
    """Without 503, so each request is made once."""
    order = Order((100,) * 64, 64, 0)
    plan = Plan(order, 100, 8, 1000, (10, 20), 2, 10, 1e6, 4)
    started = simulate_start(plan)
    assert len(started.first_images) == 8
    assert started.refused == 0
    shards = started.granted - 8 * (2 + scaling.restore_requests(2)) - 1  # the chief's LIST
    assert np.isclose(started.num_bytes, 8 * (1000 + 30) + 100 * shards)
    alone = simulate_start(Plan(order, 100, 8, 1000, (10, 20), 2, 10, 1e6, 4, is_broadcast=True))
    assert started.granted - alone.granted == 7 * scaling.restore_requests(2)
    assert alone.restored < started.restored
