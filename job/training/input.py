"""The chunks of the train calls, read ahead by tf.data, without Python per image."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from job.config.spec import RunSpec
from job.data.order import Order, needs, stripe_width, worker_positions
from job.streaming.budget import check_budget
from job.streaming.reader import Reader
from job.streaming.shards import open_shards
from job.training.context import RunContext
from job.training.schedule import Schedule
from job.training.topology import Topology

CHUNKS_AHEAD = 1  # while a call trains K steps, the next K are gathered


class ChunkReader(Protocol):
    """The source of pixels; ``job.streaming.reader.Reader`` is one."""

    def chunk(self, first_step: int, num_steps: int) -> np.ndarray:
        """Return uint8 ``[S, K, P, H, W, C]``."""


class Input:
    """This worker's images from step ``start`` on: a chunk for each call of the schedule.

    A chunk is uint8 ``[S, K, P, H, W, C]``. S stripes of P positions are the B images of one step
    in order: ``chunk[:, k]`` reshaped to ``[B, H, W, C]``.
    """

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        reader: ChunkReader,
        order: Order,
        schedule: Schedule,
        start: int,
    ):
        positions = worker_positions(order, topology.rank, topology.world_size)
        width = stripe_width(order, positions)
        self._reader, self._calls = reader, schedule.calls(start)
        self._error: Exception | None = None
        shape = [positions.size // width, None, width, *spec.model.image_size, spec.model.channels]
        options = tf.data.Options()
        # Nothing to tune here, and waiting for its thread can delay the end of a run by seconds.
        options.autotune.enabled = False
        dataset = tf.data.Dataset.from_generator(
            self._gather, output_signature=tf.TensorSpec(shape, tf.uint8)
        )
        self.dataset = dataset.prefetch(CHUNKS_AHEAD).with_options(options)

    def __iter__(self) -> Iterator[tf.Tensor]:
        try:
            yield from self.dataset
        except tf.errors.OpError as error:
            raise self._error or error from error  # tf.data wraps every error

    def _gather(self) -> Iterator[np.ndarray]:
        try:
            for first_step, num_steps in self._calls:
                yield self._reader.chunk(first_step, num_steps)
        except Exception as error:  # the edge of tf.data's thread; raised again by ``__iter__``
            self._error = error
            raise


def open_reader(context: RunContext, start: int) -> Reader:
    """Open the reader of this worker's part of the images from step ``start`` on."""
    spec, topology, index, order = context.spec, context.topology, context.index, context.order
    positions = worker_positions(order, topology.rank, topology.world_size)
    if context.data_store.local_path(index.shards[0].name) is None:
        # The workers of this host share the cache; assume that each reads as much as this one.
        num_local = topology.local_world_size
        steps_per_call = spec.training.steps_per_call
        check_budget(spec.data.cache_bytes, order, index, [positions] * num_local, steps_per_call)
    shards = open_shards(
        context.data_store,
        index,
        spec.data,
        needs(order, positions, start, context.schedule.total_steps),
        connections=spec.storage.max_connections,
        sharers=topology.local_world_size,
        listener=context.streaming,
    )
    return Reader(order, index, positions, shards, threads=max(1, round(spec.workers.cpus)))
