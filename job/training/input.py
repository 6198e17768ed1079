"""From packed shards to the chunks that a call takes: one gather per chunk, read ahead by tf.data, no Python per image."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from job.config.spec import RunSpec
from job.data.order import Order, stripe_width, worker_positions
from job.training.schedule import Schedule
from job.training.topology import Topology

CHUNKS_AHEAD = 1  # while a call trains K steps, the next K are gathered


class ChunkReader(Protocol):
    """What gives the pixels; ``job.streaming.reader.Reader`` is one."""

    def chunk(self, first_step: int, num_steps: int) -> np.ndarray:
        """uint8 ``[S, K, W, H, W, C]``."""


class Input:
    """This worker's images from step ``start`` on: iterates over a chunk ``[S, K, W, H, W, C]``, uint8, for each call of the schedule.

    S stripes of W positions are the B images of one step in order: ``chunk[:, k]`` reshaped to ``[B, H, W, C]``.
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
        signature = tf.TensorSpec(
            [positions.size // width, None, width, *spec.model.image_size, spec.model.channels],
            tf.uint8,
        )
        options = tf.data.Options()
        options.autotune.enabled = False  # nothing here to tune, and waiting for its thread can hold up the end of a run for seconds
        dataset = tf.data.Dataset.from_generator(self._gather, output_signature=signature)
        self.dataset = dataset.prefetch(CHUNKS_AHEAD).with_options(options)

    def __iter__(self) -> Iterator[tf.Tensor]:
        try:
            yield from self.dataset
        except tf.errors.OpError as error:
            raise self._error or error from error  # tf.data turns every error into one of its own

    def _gather(self) -> Iterator[np.ndarray]:
        try:
            for first_step, num_steps in self._calls:
                yield self._reader.chunk(first_step, num_steps)
        except Exception as error:  # the edge of tf.data's thread; raised again by ``__iter__``
            self._error = error
            raise
