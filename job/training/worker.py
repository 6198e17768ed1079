"""The entry of one worker process: from a configuration and a place among the workers to a trained, saved run.

``run`` is the same under Ray, under a test that starts two processes by hand, or alone; ``TF_CONFIG`` must name the workers before it is called.
"""

import logging
import time

from job.config.errors import StorageError
from job.config.spec import RunSpec
from job.data.index import read_index
from job.data.order import Order, needs, worker_slots
from job.gan.networks import build_networks
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.streaming.budget import check_budget
from job.streaming.reader import Reader
from job.streaming.shards import open_shards
from job.training import snapshot
from job.training.call import build_call
from job.training.checkpoint import Checkpoints
from job.training.identity import check_identity, check_images
from job.training.input import Input
from job.training.loop import Loop, Session
from job.training.manifest import Manifest
from job.training.observer import Observer
from job.training.samples import save_progress
from job.training.schedule import plan
from job.training.strategy import agree_on, create_strategy
from job.training.summary import Summary, write_summary
from job.training.topology import Listener, Topology
from job.training.versions import versions

log = logging.getLogger("dcgan.training")


def run(spec: RunSpec, topology: Topology, listener: Listener) -> None:
    """Train until the last step of ``spec``, from the newest good checkpoint of its run folder on; returns when everything is saved."""
    strategy = create_strategy(spec)  # before any other TensorFlow operation
    store, data_store = open_store(spec.uri, spec.storage), open_store(spec.data.uri, spec.storage)
    index = read_index(data_store)
    check_images(spec, index)
    schedule = plan(spec, index.num_rows)
    with Observer(spec, topology, index, listener) as observer:
        with strategy.scope():
            networks = build_networks(spec)
        call = build_call(spec, strategy, networks)
        session = Session(spec, topology, observer, store, index, schedule, strategy, networks, snapshot.Exporter(spec), call)
        resumed = _restore(session)
        start = resumed.step if resumed else 0
        started = time.monotonic()
        order = Order(tuple(shard.num_rows for shard in index.shards), spec.training.global_batch_size, spec.seed)
        with _reader(session, data_store, order, start) as reader:
            Loop(session, resumed).run(Input(spec, topology, reader, order, schedule, start))
        if topology.is_chief:
            _finish(session, start, time.monotonic() - started)


def _reader(session: Session, store: ObjectStore, order: Order, start: int) -> Reader:
    """What reads this worker's part of the images from step ``start`` on."""
    spec, topology, index = session.spec, session.topology, session.index
    slots = worker_slots(order, topology.rank, topology.world_size)
    if store.local_path(index.shards[0].name) is None:
        # Those of this machine, as far as can be told from here: as many as there are, with as much to read as this one.
        check_budget(spec.data.cache_bytes, order, index, [slots] * topology.local_world_size, spec.training.steps_per_call)
    shards = open_shards(
        store,
        index,
        spec.data,
        needs(order, slots, start, session.schedule.total_steps),
        connections=spec.storage.max_connections,
        sharers=topology.local_world_size,
        listener=session.observer.streaming,
    )
    return Reader(order, index, slots, shards, threads=max(1, round(spec.workers.cpus)))


def _restore(session: Session) -> Manifest | None:
    """Put the newest good checkpoint into this worker's networks; its manifest, or None for a fresh run.

    The chief chooses, every worker loads what it chose and none other: a worker that finds it damaged stops the run.
    """
    checkpoints, spec = Checkpoints(session.store), session.spec
    chosen = checkpoints.restore() if session.topology.is_chief else None
    step = agree_on(session.strategy, chosen[0].step if chosen else 0)
    if step == 0:
        return None
    found = chosen or checkpoints.restore(step)
    if found is None:
        raise StorageError(
            f"{spec.uri}: worker {session.topology.rank} cannot read the checkpoint of step {step}; expected the one the chief read"
        )
    manifest, parts = found
    check_identity(spec, session.index, manifest, spec.uri)
    snapshot.put(session.networks, parts, spec)
    log.info("resumed", extra={"fields": {"step": step, "uri": checkpoints.uri(manifest)}})
    return manifest


def _finish(session: Session, start: int, seconds: float) -> None:
    """The GIF and ``summary.json``: what is left for people."""
    save_progress(session.store)
    steps = session.schedule.total_steps - start
    summary = Summary(
        outcome="done",
        steps=session.schedule.total_steps,
        resumed_from_step=start,
        images_per_second=steps * session.spec.training.global_batch_size / seconds if steps > 0 else None,
        seconds=seconds,
        world_size=session.topology.world_size,
        restarts=session.topology.restarts,
        versions=versions(),
    )
    write_summary(session.store, summary)
