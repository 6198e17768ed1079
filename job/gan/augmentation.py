"""The augmentation of a run: the same for everything that D sees, with its own probability."""

from typing import NamedTuple

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan import adaptive
from job.gan.adaptive import AdaptiveState
from job.gan.diffaugment import NUMBERS, augment
from job.gan.noise import BatchSlice, StepNoise
from job.gan.schedules import Schedules
from job.gan.streams import Purpose


class Augment(NamedTuple):
    """Uniform numbers ``[B, 10]`` for images, and the probability of each change, a scalar."""

    numbers: tf.Tensor
    probability: tf.Tensor


class Augmentation:
    """Draws, applies and adapts; does nothing if ``training.augment.mode`` is ``none``."""

    def __init__(
        self,
        spec: RunSpec,
        state: AdaptiveState | None,
        noise: StepNoise,
        schedules: Schedules,
    ):
        if spec.training.augment.mode == "auto":
            raise ValueError("mode is auto; expected another (job.training.automatic)")
        self._spec, self._state, self._noise, self._schedules = spec, state, noise, schedules

    def draw(self, purpose: Purpose, at: BatchSlice, num_images: int) -> Augment | None:
        """Draw outside of XLA."""
        if self._spec.training.augment.mode == "none":
            return None
        probability = (
            self._state.probability.read_value()
            if self._state
            else tf.convert_to_tensor(self._schedules.augment_probability(at.step), tf.float32)
        )
        return Augment(self._noise.uniform(purpose, at, num_images, NUMBERS), probability)

    def apply(self, images: tf.Tensor, draw: Augment | None) -> tf.Tensor:
        """Return augmented images ``[B, H, W, C]``; differentiable."""
        if draw is None:
            return images
        return augment(images, draw.numbers, draw.probability, self._spec.training.augment)

    def update(self, sign_share: tf.Tensor | None, step: tf.Tensor) -> None:
        """Adapt the probability; ``sign_share`` is this replica's share of the mean sign."""
        if self._state is not None and sign_share is not None:
            adaptive.adjust(self._spec, self._state, sign_share, step)
