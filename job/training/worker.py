"""The entry of one worker process: from a configuration and a place among the workers to a trained, saved run.

``run`` is the same under Ray, under a test that starts two processes by hand, or alone; ``TF_CONFIG`` must name the workers before it is called.
"""

import datetime
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import tensorflow as tf

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.saver import Saver
from job.checkpoints.writer import claim
from job.config.host import boot_number
from job.config.spec import RunSpec
from job.config.versions import versions
from job.config.waits import LOOP_ATTEMPTS, save_wait_seconds
from job.data.index import Index, read_index
from job.data.order import Order, needs, worker_positions
from job.gan.networks import build_networks
from job.run.layout import HANGS, STAMP, hang_key, start_name
from job.run.process_records import Records
from job.run.summary import Summary, write_summary
from job.storage.retry import retry
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.streaming.budget import check_budget
from job.streaming.reader import Reader
from job.streaming.shards import open_shards
from job.training import divergence, snapshot
from job.training.divergence import Diverged
from job.training.identity import check_images
from job.training.input import Input
from job.training.loop import NUM_AGREED, Loop, RunContext
from job.training.multi_step import build_train_call
from job.training.observer import Observer
from job.training.resume import Restored, Resume
from job.training.samples import save_progress
from job.training.saving import Saving
from job.training.schedule import Schedule, plan
from job.training.strategy import Agreement, create_strategy
from job.training.topology import Listener, Topology, with_workers

log = logging.getLogger("dcgan.training")


@dataclass(frozen=True)
class Worker:
    """What does not change while this process lives."""

    spec: RunSpec
    topology: Topology
    observer: Observer
    store: ObjectStore
    data_store: ObjectStore
    index: Index
    order: Order
    schedule: Schedule
    strategy: tf.distribute.Strategy
    agree: Agreement
    fence: Callable[[], None]
    start: str
    hosts: int


def run(
    spec: RunSpec,
    topology: Topology,
    listener: Listener,
    fence: Callable[[], None] = lambda: None,
    records: Records | None = None,
) -> None:
    """Train until the last step of ``spec``, or until asked to stop, from the newest good checkpoint of its run folder on.

    Returns when everything is saved. ``fence`` raises where the run folder is no longer this job's; it is asked before a checkpoint is committed.
    The first worker keeps the run's history in ``records``, where there are any.
    """
    start = (
        records.start
        if records
        else start_name(f"{datetime.datetime.now(datetime.UTC):{STAMP}}", topology.restarts)
    )
    target_world_size = spec.workers.max_workers
    spec = with_workers(spec, topology.world_size)
    strategy = create_strategy(spec)  # before any other TensorFlow operation
    # With few attempts: what uses it repeats by itself, and training must not wait long for a grid that a failing store refuses.
    store = open_store(spec.uri, spec.storage, max_attempts=LOOP_ATTEMPTS)
    data_store = open_store(spec.data.uri, spec.storage)
    index = retry(lambda: read_index(data_store), spec.data.fetch_patience_seconds)
    check_images(spec, index)
    order = Order(
        tuple(shard.num_rows for shard in index.shards), spec.training.global_batch_size, spec.seed
    )
    schedule = plan(spec, index.num_rows)
    agree = Agreement(strategy, NUM_AGREED, max(1, spec.workers.gpus))

    def write_hang(text: str) -> None:
        store.write(hang_key(datetime.datetime.now(datetime.UTC), topology.rank), text.encode())

    num_hangs = retry(lambda: sum(1 for _ in store.list(HANGS)), spec.data.fetch_patience_seconds)
    with Observer(
        spec,
        topology,
        index,
        listener,
        write_hang,
        target_world_size=target_world_size,
        num_hangs=num_hangs,
        records=records,
    ) as observer:
        observer.enter("start")
        worker = Worker(
            spec,
            topology,
            observer,
            store,
            data_store,
            index,
            order,
            schedule,
            strategy,
            agree,
            fence,
            start,
            agree([boot_number(), 0, 0])[0],
        )
        while True:
            try:
                if _train(worker):
                    observer.enter("done")
                observer.linger()
                return
            except Diverged as diverged:
                _roll_back(worker, diverged)


def _train(worker: Worker) -> bool:
    """From the newest good checkpoint to the end, or until asked to stop; whether it came to the end."""
    spec, topology = worker.spec, worker.topology
    worker.observer.enter("start")
    with worker.strategy.scope():
        networks = build_networks(spec)
    store = worker.store
    resume = Resume(spec, topology, store, worker.index, worker.agree, worker.start, worker.hosts)
    restored = resume.restore()
    worker.observer.enter(
        "start"
    )  # after each agreement: the limit is for one wait of the chief, not for their sum
    noise_stream = _noise_stream(worker, restored)
    worker.observer.enter("start")
    if restored:
        snapshot.put(networks, restored.parts, spec)
    manifest = restored.manifest if restored else None
    start = manifest.step if manifest else 0
    started = time.monotonic()
    with ExitStack() as stack:
        saver = None
        if topology.is_chief:
            fence = _fence(worker, store)
            saver = stack.enter_context(
                Saver(Checkpoints(store), spec.checkpoints, fence, save_wait_seconds(spec))
            )
        standing = start if restored and restored.is_own else None
        if standing is not None:
            worker.observer.resumed(standing)
        saving = Saving(
            spec, topology, worker.index, worker.observer, saver, noise_stream, standing
        )
        call = build_train_call(spec, worker.strategy, networks, noise_stream)
        exporter = snapshot.Exporter(spec)
        session = RunContext(
            spec,
            topology,
            worker.observer,
            store,
            worker.schedule,
            worker.agree,
            resume,
            networks,
            exporter,
            saving,
            call,
        )
        reader = stack.enter_context(_reader(worker, start))
        is_done = Loop(session, manifest).run(
            Input(spec, topology, reader, worker.order, worker.schedule, start)
        )
    if topology.is_chief and is_done:
        _finish(worker, start, time.monotonic() - started)
    return is_done


def _fence(worker: Worker, store: ObjectStore) -> Callable[[], None]:
    """Claim the checkpoints for this start of the workers; return a check that raises if the run folder, or the claim, is another's by now."""
    conditional = (
        worker.spec.checkpoints.lease_seconds > 0
    )  # no lease: for a store without conditional writes
    check_claim = retry(
        lambda: claim(store, worker.start, worker.fence, conditional=conditional),
        worker.spec.data.fetch_patience_seconds,
    )

    def fence() -> None:
        worker.fence()
        check_claim()

    return fence


def _noise_stream(worker: Worker, restored: Restored | None) -> int:
    """Which set of noise to train with: another one after each divergence that was recorded. The same on every worker."""
    mine = 0
    if worker.topology.is_chief:
        recorded = retry(
            lambda: divergence.count(worker.store), worker.spec.data.fetch_patience_seconds
        )
        mine = max(recorded, restored.manifest.noise_stream if restored else 0)
    return worker.agree([mine, 0, 0])[0]


def _roll_back(worker: Worker, diverged: Diverged) -> None:
    """Write down what happened; raises it again where the run has gone back often enough."""
    spec, mine = worker.spec, 0
    if worker.topology.is_chief:
        key, mine = divergence.record(worker.store, diverged, spec.data.fetch_patience_seconds)
        log.warning("%s; the diagnosis is %s/%s", diverged, spec.uri.rstrip("/"), key)
    num_divergences = worker.agree([mine, 0, 0])[0]
    kept = (
        "none was saved yet"
        if diverged.checkpoint_step is None
        else f"step {diverged.checkpoint_step} in {spec.uri}"
    )
    if num_divergences > spec.training.max_rollbacks:
        worker.observer.linger()
        raise type(diverged)(
            diverged.divergence,
            diverged.checkpoint_step,
            f". That was number {num_divergences}, each with other noise (training.max_rollbacks is {spec.training.max_rollbacks})."
            f" Last good checkpoint: {kept}. Lower the learning rates or look at the images, then start again with a larger"
            " training.max_rollbacks, or into another run folder",
        )
    worker.observer.rolled_back()
    if worker.topology.is_chief:
        worker.observer.note(
            f"{diverged}: going back to the last checkpoint ({kept}), with other noise"
        )


def _reader(worker: Worker, start: int) -> Reader:
    """What reads this worker's part of the images from step ``start`` on."""
    spec, topology, index, order = worker.spec, worker.topology, worker.index, worker.order
    positions = worker_positions(order, topology.rank, topology.world_size)
    if worker.data_store.local_path(index.shards[0].name) is None:
        # Those of this machine, as far as can be told from here: as many as there are, with as much to read as this one.
        check_budget(
            spec.data.cache_bytes,
            order,
            index,
            [positions] * topology.local_world_size,
            spec.training.steps_per_call,
        )
    shards = open_shards(
        worker.data_store,
        index,
        spec.data,
        needs(order, positions, start, worker.schedule.total_steps),
        connections=spec.storage.max_connections,
        sharers=topology.local_world_size,
        listener=worker.observer.streaming,
    )
    return Reader(order, index, positions, shards, threads=max(1, round(spec.workers.cpus)))


def _finish(worker: Worker, start: int, seconds: float) -> None:
    """The GIF and ``summary.json``: what is left for people."""
    patience = worker.spec.data.fetch_patience_seconds
    retry(lambda: save_progress(worker.store), patience)
    steps = worker.schedule.total_steps - start
    summary = Summary(
        outcome="done",
        steps=worker.schedule.total_steps,
        resumed_from_step=start,
        images_per_second=steps * worker.spec.training.global_batch_size / seconds
        if steps > 0
        else None,
        seconds=seconds,
        world_size=worker.topology.world_size,
        restarts=worker.topology.restarts,
        versions=versions(),
    )
    retry(lambda: write_summary(worker.store, summary), patience)
