"""Values that change during a run, as functions of the number of images seen.

Images, not steps or epochs: so a schedule keeps its meaning with another batch size (StyleGAN2,
arXiv:1912.04958, and R3GAN, arXiv:2501.05441, count in images, too). A function of the step alone,
so a resumed run continues exactly. Over the first ``training.schedule.images`` images a value goes
from its own key's to that of the schedule along half a cosine, and then stays (R3GAN's burn-in;
reference: brownvc/R3GAN, ``training_loop.py``). A value without a schedule is a Python float.
"""

import math
from typing import TypeAlias

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.networks import Networks

Value: TypeAlias = float | tf.Tensor  # float32 scalar


class Schedules:
    """The values of a run at a step (int64 scalar, from 0)."""

    def __init__(self, spec: RunSpec):
        self._training, self._schedule = spec.training, spec.training.schedule

    def gamma_factor(self, step: tf.Tensor) -> Value:
        """Return the factor of both gammas."""
        return self._between(1.0, self._schedule.gamma_factor, step)

    def augment_probability(self, step: tf.Tensor) -> Value:
        """Return the probability of each augmentation, if it is not adaptive."""
        start = self._training.augment.probability
        return self._between(start, self._schedule.augment_probability, step)

    def ema_decay(self, step: tf.Tensor) -> Value:
        """Return the decay of the averaged generator for the update at the end of ``step``.

        With a half-life H in images it is 0.5^(batch / H). H is at most ``ema_warmup`` times the
        images seen so far, or the first weights would dominate the average for long (Karras et al.
        2019, reference: NVlabs/stylegan2-ada-pytorch, ``training_loop.py``, ``ema_rampup``).
        """
        training = self._training
        if training.ema_half_life_images is None:
            return training.ema_decay
        start, batch = training.ema_half_life_images, training.global_batch_size
        half_life = self._between(start, self._schedule.ema_half_life_images, step)
        if training.ema_warmup > 0:
            half_life = tf.minimum(half_life, training.ema_warmup * self._images_seen(step + 1))
        return 0.5 ** (batch / half_life)

    def set_optimizers(self, networks: Networks, step: tf.Tensor) -> None:
        """Set learning rates and Adam's beta_2 for ``step``. In cross-replica context."""
        training, schedule = self._training, self._schedule
        for optimizer, own in (
            (networks.generator_optimizer, training.generator_optimizer),
            (networks.discriminator_optimizer, training.discriminator_optimizer),
        ):
            if self.is_on and schedule.learning_rate_factor != 1.0:
                rate = own.learning_rate
                end = rate * schedule.learning_rate_factor
                optimizer.learning_rate = self._between(rate, end, step)
            if self.is_on and schedule.beta_2 is not None and own.name == "adam":
                optimizer.beta_2.assign(self._between(own.beta_2, schedule.beta_2, step))

    @property
    def is_on(self) -> bool:
        """True if any value may change."""
        return self._schedule.images > 0

    def _between(self, start: float, end: float | None, step: tf.Tensor) -> Value:
        if not self.is_on or end is None or end == start:
            return start
        progress = tf.minimum(self._images_seen(step) / self._schedule.images, 1.0)
        return start + (end - start) * (0.5 - 0.5 * tf.cos(math.pi * progress))

    def _images_seen(self, step: tf.Tensor) -> tf.Tensor:
        return tf.cast(step * self._training.global_batch_size, tf.float32)
