"""All random numbers of a training step: latents, dropout masks and flips.

The images that a conditional generator makes for a step have the classes of the step's real images:
the same frequencies, without a further random number, for any number of replicas.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.discriminator import dropout_masks
from job.gan.latents import sample_latents, with_labels
from job.gan.networks import Networks
from job.gan.streams import SEED_BITS, Purpose, normal_rows, uniform_rows


class BatchSlice(NamedTuple):
    """A replica's part of a step: the step, and its first index in the global batch (int64).

    ``labels``, int32 ``[B]``, are those of its real images, if the networks are conditional.
    """

    step: tf.Tensor
    first_index: tf.Tensor
    labels: tf.Tensor | None = None

    @property
    def place(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the step and the first index, the key of every random number."""
        return self.step, self.first_index


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

    def latents(
        self, purpose: Purpose, at: BatchSlice, num_images: int
    ) -> tf.Tensor | list[tf.Tensor]:
        """Return the inputs of G: latents, or ``[latents, labels]``."""
        size = self._spec.model.generator.latent_size
        latents = sample_latents(self._seed, purpose, *at.place, num_images, size)
        return with_labels(latents, at.labels)

    def masks(self, purpose: Purpose, at: BatchSlice, num_images: int) -> list[tf.Tensor]:
        """Return the inputs of D beside its images: dropout masks, then labels if there are."""
        rate = self._spec.model.discriminator.dropout
        masks = dropout_masks(self._discriminator, rate, self._seed, purpose, *at.place, num_images)
        return masks if at.labels is None else [*masks, at.labels]

    def both_masks(self, at: BatchSlice, num_images: int) -> tuple[list[tf.Tensor], ...]:
        """Return the ``masks`` for the fake and for the real images of a step."""
        purposes = Purpose.DROPOUT_FAKE, Purpose.DROPOUT_REAL
        return tuple(self.masks(purpose, at, num_images) for purpose in purposes)

    def uniform(self, purpose: Purpose, at: BatchSlice, num_images: int, numbers: int) -> tf.Tensor:
        """Return ``numbers`` uniform numbers in [0, 1) for each image, float32 ``[B, numbers]``."""
        return uniform_rows(self._seed, purpose, at.step, at.first_index, num_images, numbers)

    def pixels(self, purpose: Purpose, at: BatchSlice, num_images: int) -> tf.Tensor:
        """Return standard normal numbers in the shape of the images, float32 ``[B, H, W, C]``."""
        model = self._spec.model
        shape = (*model.image_size, model.channels)
        numbers = normal_rows(
            self._seed, purpose, at.step, at.first_index, num_images, math.prod(shape)
        )
        return tf.reshape(numbers, [-1, *shape])

    def flip(self, images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        if not self._spec.data.horizontal_flip:
            return images
        numbers = uniform_rows(self._seed, Purpose.FLIP, *at.place, len(images), 1)
        return tf.where(numbers[:, :, None, None] < 0.5, images[:, :, ::-1], images)
