"""From packed shards to the chunks that a call takes: one gather per chunk, read ahead by tf.data, no Python per image."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from job.config.spec import RunSpec
from job.data.order import Order, rows_at
from job.data.reader import ShardReader
from job.training.schedule import Schedule
from job.training.topology import Topology

CHUNKS_AHEAD = 2


class Input:
    """This worker's images from step ``start`` on: iterates over a chunk ``[K, B, H, W, C]``, uint8, for each call of the schedule."""

    def __init__(self, spec: RunSpec, topology: Topology, reader: ShardReader, order: Order, schedule: Schedule, start: int):
        worker_batch = spec.training.global_batch_size // topology.world_size
        self._slots = (topology.rank * worker_batch, worker_batch)
        self._reader, self._order, self._calls = reader, order, schedule.calls(start)
        self._error: Exception | None = None
        signature = tf.TensorSpec([None, worker_batch, *spec.model.image_size, spec.model.channels], tf.uint8)
        options = tf.data.Options()
        options.autotune.enabled = False  # nothing here to tune, and waiting for its thread can hold up the end of a run for seconds
        dataset = tf.data.Dataset.from_generator(self._gather, output_signature=signature)
        self._dataset = dataset.prefetch(CHUNKS_AHEAD).with_options(options)

    def __iter__(self) -> Iterator[tf.Tensor]:
        try:
            yield from self._dataset
        except tf.errors.OpError as error:
            raise self._error or error from error  # tf.data turns every error into one of its own

    def _gather(self) -> Iterator[np.ndarray]:
        try:
            for first_step, num_steps in self._calls:
                yield self._reader.gather(rows_at(self._order, first_step, num_steps, *self._slots))
        except Exception as error:  # the edge of tf.data's thread; raised again by ``__iter__``
            self._error = error
            raise
