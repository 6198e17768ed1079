"""All random numbers of a training step: latents, dropout masks and flips."""

from typing import NamedTuple

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.discriminator import dropout_masks
from job.gan.latents import sample_latents
from job.gan.networks import Networks
from job.gan.streams import SEED_BITS, Purpose, uniform_rows


class BatchSlice(NamedTuple):
    """A replica's part of a step: the step, and its first index in the global batch (int64)."""

    step: tf.Tensor
    first_index: tf.Tensor


class StepNoise:
    """Random numbers, keyed by each sample's place in the global batch.

    Drawn outside of XLA, whose Philox gives other numbers than TensorFlow's (seen with 2.21), and
    whose normal numbers can depend on how many are drawn, so that a replica would no longer draw
    its slice of the global batch.
    """

    def __init__(self, spec: RunSpec, networks: Networks, stream: int):
        self._spec = spec
        self._seed = spec.seed + (stream << SEED_BITS)
        self._discriminator = networks.discriminator

    def latents(self, purpose: Purpose, at: BatchSlice, num_images: int) -> tf.Tensor:
        size = self._spec.model.generator.latent_size
        return sample_latents(self._seed, purpose, *at, num_images, size)

    def masks(self, purpose: Purpose, at: BatchSlice, num_images: int) -> list[tf.Tensor]:
        rate = self._spec.model.discriminator.dropout
        return dropout_masks(self._discriminator, rate, self._seed, purpose, *at, num_images)

    def both_masks(self, at: BatchSlice, num_images: int) -> tuple[list[tf.Tensor], ...]:
        """Return the dropout masks of D for the fake and for the real images of a step."""
        purposes = Purpose.DROPOUT_FAKE, Purpose.DROPOUT_REAL
        return tuple(self.masks(purpose, at, num_images) for purpose in purposes)

    def flip(self, images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        if not self._spec.data.horizontal_flip:
            return images
        numbers = uniform_rows(self._seed, Purpose.FLIP, *at, len(images), 1)
        return tf.where(numbers[:, :, None, None] < 0.5, images[:, :, ::-1], images)
