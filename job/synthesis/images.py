"""Generated images by index: the same seed and index give the same image, bit for bit.

A generator's last bits can depend on how many images it makes together. So images are always made
in whole blocks at fixed places (0..63, 64..127, ...), and those not asked for are dropped. Blocks
are made in threads, as many at a time as there are cores.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from job.config.host import usable_cores
from job.gan.latents import sample_latents
from job.gan.step import encode
from job.gan.streams import Purpose
from job.synthesis.classes import ClassPlan
from job.synthesis.plan import BLOCK_IMAGES, IndexRange
from job.synthesis.truncation import truncated

T = TypeVar("T")


class Block(NamedTuple):
    """Images uint8 ``[B, H, W, C]``, B <= 64, the first one's index, and their classes, if any."""

    first_index: int
    images: NDArray[np.uint8]
    labels: NDArray[np.int32] | None


class Sampler:
    """Makes the images of one generator and seed; a context manager, for its threads.

    ``truncation`` limits the latents (``job.synthesis.truncation``). With ``classes`` the generator
    takes latents ``[B, Z]`` and classes ``[B]``, int32.
    """

    def __init__(
        self,
        generator: keras.Model,
        seed: int,
        *,
        truncation: float | None = None,
        classes: ClassPlan | None = None,
        num_threads: int | None = None,
    ) -> None:
        self._classes = classes
        self._num_threads = num_threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._num_threads, "make-images")
        latent_size = generator.inputs[0].shape[-1]
        zero = tf.constant(0, tf.int64)

        @tf.function(
            input_signature=[
                tf.TensorSpec([], tf.int64),
                tf.TensorSpec([BLOCK_IMAGES if classes else 0], tf.int32),
            ]
        )
        def make_block(first_index: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            latents = sample_latents(
                seed, Purpose.LATENTS_GENERATE, zero, first_index, BLOCK_IMAGES, latent_size
            )
            if truncation is not None:
                latents = truncated(latents, truncation)
            inputs = [latents, labels] if classes else latents
            return encode(generator(inputs, training=False))

        self._make_block = make_block

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def blocks(self, ranges: Iterable[IndexRange], then: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``then(block)`` of all images of ``ranges``, in order; a block is of one range.

        ``then`` runs in the threads, too. At most twice as many blocks as threads are held.
        """
        pending: deque[Future[T]] = deque()
        for start, stop in ranges:
            for first in range(start - start % BLOCK_IMAGES, stop, BLOCK_IMAGES):
                pending.append(self._pool.submit(self._block, first, start, stop, then))
                if len(pending) > 2 * self._num_threads:
                    yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _block(self, first: int, start: int, stop: int, then: Callable[[Block], T]) -> T:
        labels = self._classes.labels(first, BLOCK_IMAGES) if self._classes else None
        given = tf.constant([], tf.int32) if labels is None else tf.constant(labels)
        images = self._make_block(tf.constant(first, tf.int64), given).numpy()
        wanted = slice(max(start - first, 0), stop - first)
        kept = labels[wanted] if labels is not None else None
        return then(Block(max(start, first), images[wanted], kept))


def image_blocks(
    generator: keras.Model,
    seed: int,
    num_images: int,
    start: int = 0,
    *,
    truncation: float | None = None,
    classes: ClassPlan | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images ``start ... start + num_images - 1``: uint8 ``[B, H, W, C]``, B <= 64."""
    wanted = IndexRange(start, start + num_images)
    with Sampler(generator, seed, truncation=truncation, classes=classes) as sampler:
        yield from sampler.blocks([wanted], lambda block: block.images)


def one_thread_per_block() -> None:
    """Make each operation run in one thread, for a worker that has a core; before the first one."""
    with contextlib.suppress(RuntimeError):  # it has: slower, and otherwise the same
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(usable_cores())
