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
from job.data.index import ImageClass, Index, read_index
from job.data.order import Order
from job.run.layout import HANGS, STAMP, hang_key, start_name
from job.run.process_records import Records
from job.run.stores import RunStores
from job.storage.retry import retry
from job.storage.store import ObjectStore
from job.telemetry.stream_metrics import StreamMetrics
from job.training.automatic import without_auto
from job.training.collectives import Collectives
from job.training.identity import check_images, classes_of, order_of
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
        return order_of(self.spec, self.index)

    @property
    def classes(self) -> tuple[ImageClass, ...]:
        """The classes that the networks are conditioned on; ``()`` if they are not."""
        return classes_of(self.spec, self.index)

    def retry(self, operation: Callable[[], T]) -> T:
        """Return the result of a store operation, retried for ``data.fetch_patience_seconds``."""
        return retry(operation, self.spec.data.fetch_patience_seconds)


@contextmanager
def open_context(
    spec: RunSpec,
    stores: RunStores,
    topology: Topology,
    driver: Driver,
    check_ownership: Callable[[], None],
    records: Records | None,
) -> Iterator[RunContext]:
    """Create the strategy, read the index and start the telemetry."""
    now = datetime.datetime.now(datetime.UTC)
    attempt = records.start if records else start_name(f"{now:{STAMP}}", topology.restarts)
    target_world_size = spec.workers.max_workers
    spec = with_workers(spec, topology.world_size)
    strategy = create_strategy(spec)  # before any other TensorFlow operation
    store, patience_seconds = stores.loop, spec.data.fetch_patience_seconds
    index = retry(lambda: read_index(stores.data), patience_seconds)
    check_images(spec, index)
    spec = without_auto(spec, index.num_rows)
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
        store=store,
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
            data_store=stores.data,
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
