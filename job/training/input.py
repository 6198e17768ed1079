"""The chunks of the train calls, read ahead by tf.data, without Python per image.

Suffixes: S stripes, K steps, P positions of a stripe, B images of this worker per step.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from job.config.errors import DataError
from job.config.spec import RunSpec
from job.data.order import Order, stripe_width, worker_positions
from job.training.schedule import Schedule
from job.training.topology import Topology

CHUNKS_AHEAD = 1  # while a call trains K steps, the next K are gathered


class ChunkReader(Protocol):
    """The source of pixels; ``job.streaming.reader.Reader`` is one."""

    def chunk(self, first_step: int, num_steps: int) -> np.ndarray:
        """Return uint8 ``[S, K, P, H, W, C]``."""

    def labels(self, first_step: int, num_steps: int) -> np.ndarray:
        """Return the labels of the last chunk, int32 ``[S, K, P]``; for a conditional model."""


class Input:
    """This worker's images from step ``start`` on: a chunk for each call of the schedule.

    Yields ``(chunk,)``, uint8 ``[S, K, P, H, W, C]``. S stripes of P positions are the B images of
    one step in order: ``chunk[:, k]`` reshaped to ``[B, H, W, C]``. With ``num_classes`` it yields
    ``(chunk, labels)``, int32 ``[S, K, P]``, in the same order.
    """

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        reader: ChunkReader,
        order: Order,
        schedule: Schedule,
        start: int,
        num_classes: int = 0,
    ):
        positions = worker_positions(order, topology.rank, topology.world_size)
        width = stripe_width(order, positions)
        self._reader, self._calls = reader, schedule.calls(start)
        self._spec, self._num_classes = spec, num_classes
        self._error: Exception | None = None
        shape = [positions.size // width, None, width, *spec.model.image_size, spec.model.channels]
        signature = [tf.TensorSpec(shape, tf.uint8)]
        if num_classes:
            signature.append(tf.TensorSpec(shape[:3], tf.int32))
        options = tf.data.Options()
        # Nothing to tune here, and waiting for its thread can delay the end of a run by seconds.
        options.autotune.enabled = False
        dataset = tf.data.Dataset.from_generator(self._gather, output_signature=tuple(signature))
        self.dataset = dataset.prefetch(CHUNKS_AHEAD).with_options(options)

    def __iter__(self) -> Iterator[tuple[tf.Tensor, ...]]:
        try:
            yield from self.dataset
        except tf.errors.OpError as error:
            raise self._error or error from error  # tf.data wraps every error

    def _gather(self) -> Iterator[tuple[np.ndarray, ...]]:
        try:
            for first_step, num_steps in self._calls:
                chunk = self._reader.chunk(first_step, num_steps)
                yield (
                    (chunk, self._labels(first_step, num_steps)) if self._num_classes else (chunk,)
                )
        except Exception as error:  # the edge of tf.data's thread; raised again by ``__iter__``
            self._error = error
            raise

    def _labels(self, first_step: int, num_steps: int) -> np.ndarray:
        labels = self._reader.labels(first_step, num_steps)
        if labels.min() < 0 or labels.max() >= self._num_classes:
            raise DataError(
                f"{self._spec.data.uri}: labels from {labels.min()} to {labels.max()}; expected"
                f" 0 to {self._num_classes - 1}, the classes of index.json: pack the images again"
            )
        return labels
