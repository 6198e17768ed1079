"""The context of a run in one worker process: what stays the same until the process ends."""

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import tensorflow as tf

from job.config.host import boot_number
from job.config.spec import RunSpec
from job.config.waits import LOOP_ATTEMPTS
from job.data.index import Index, read_index
from job.data.order import Order
from job.run.layout import HANGS, STAMP, hang_key, start_name
from job.run.process_records import Records
from job.storage.retry import retry
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.telemetry.stream_metrics import StreamMetrics
from job.training.collectives import Collectives
from job.training.identity import check_images
from job.training.listeners import Driver, Listeners
from job.training.schedule import Schedule, plan
from job.training.strategy import create_strategy
from job.training.topology import Topology, with_workers
from job.training.worker_telemetry import worker_telemetry

T = TypeVar("T")


@dataclass(frozen=True)
class RunContext:
    """Made once by ``open_context``; ``attempt`` names this attempt of the workers."""

    spec: RunSpec
    topology: Topology
    attempt: str
    store: ObjectStore
    data_store: ObjectStore
    index: Index
    schedule: Schedule
    strategy: tf.distribute.Strategy
    collectives: Collectives
    check_ownership: Callable[[], None]
    """Raises if the run folder belongs to another job by now."""
    driver: Driver
    listeners: Listeners
    """All of them, the driver included."""
    streaming: StreamMetrics
    hosts: int
    """Sum of all workers' ``boot_number``: another one after a host was replaced."""

    @cached_property  # one object: the caches of ``job.data.order`` compare it by identity
    def order(self) -> Order:
        """The order of samples."""
        rows = tuple(shard.num_rows for shard in self.index.shards)
        return Order(rows, self.spec.training.global_batch_size, self.spec.seed)

    def retry(self, operation: Callable[[], T]) -> T:
        """Return the result of a store operation, retried for ``data.fetch_patience_seconds``."""
        return retry(operation, self.spec.data.fetch_patience_seconds)


@contextmanager
def open_context(
    spec: RunSpec,
    topology: Topology,
    driver: Driver,
    check_ownership: Callable[[], None],
    records: Records | None,
) -> Iterator[RunContext]:
    """Create the strategy, open the stores, read the index and start the telemetry."""
    now = datetime.datetime.now(datetime.UTC)
    attempt = records.start if records else start_name(f"{now:{STAMP}}", topology.restarts)
    target_world_size = spec.workers.max_workers
    spec = with_workers(spec, topology.world_size)
    strategy = create_strategy(spec)  # before any other TensorFlow operation
    # Few attempts: the loop retries by itself, and must not wait long for a failing store.
    store = open_store(spec.uri, spec.storage, max_attempts=LOOP_ATTEMPTS)
    data_store = open_store(spec.data.uri, spec.storage)
    patience_seconds = spec.data.fetch_patience_seconds
    index = retry(lambda: read_index(data_store), patience_seconds)
    check_images(spec, index)
    num_hangs = retry(lambda: sum(1 for _ in store.list(HANGS)), patience_seconds)

    def write_hang(text: str) -> None:
        store.write(hang_key(datetime.datetime.now(datetime.UTC), topology.rank), text.encode())

    with worker_telemetry(
        spec,
        topology,
        index,
        driver,
        write_hang,
        target_world_size=target_world_size,
        num_hangs=num_hangs,
        records=records,
    ) as (listeners, streaming):
        listeners.on_phase("start")
        collectives = Collectives(
            strategy, is_chief=topology.is_chief, num_local=max(1, spec.workers.gpus)
        )
        yield RunContext(
            spec=spec,
            topology=topology,
            attempt=attempt,
            store=store,
            data_store=data_store,
            index=index,
            schedule=plan(spec, index.num_rows),
            strategy=strategy,
            collectives=collectives,
            check_ownership=check_ownership,
            driver=driver,
            listeners=listeners,
            streaming=streaming,
            hosts=collectives.sum_over_workers(hosts=boot_number())["hosts"],
        )
