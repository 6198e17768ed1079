"""Open the reader of a worker's part of the images, in place or through the host's cache."""

from job.data.order import needs, worker_positions
from job.streaming.budget import check_budget
from job.streaming.reader import Reader
from job.streaming.shards import open_shards
from job.training.context import RunContext


def open_reader(context: RunContext, start: int) -> Reader:
    """Open the reader of this worker's part of the images from step ``start`` on."""
    spec, topology, index, order = context.spec, context.topology, context.index, context.order
    positions = worker_positions(order, topology.rank, topology.world_size)
    if context.data_store.local_path(index.shards[0].name) is None:
        # The workers of this host share the cache; assume that each reads as much as this one.
        num_local = topology.local_world_size
        steps_per_call = spec.training.steps_per_call
        check_budget(
            spec.data.cache_bytes,
            order,
            index,
            [positions] * num_local,
            steps_per_call,
            with_labels=spec.model.conditional,
        )
    shards = open_shards(
        context.data_store,
        index,
        spec.data,
        needs(order, positions, start, context.schedule.total_steps),
        connections=spec.storage.max_connections,
        sharers=topology.local_world_size,
        listener=context.streaming,
        with_labels=spec.model.conditional,
    )
    return Reader(order, index, positions, shards, threads=max(1, round(spec.workers.cpus)))
