"""Gradient penalties: they keep D smooth, so that training converges. Suffixes: B images.

    R1    gamma / 2 * |grad D(x)|^2 at real images (Mescheder et al. 2018, arXiv:1801.04406)
    R2    the same at fake images (R1 and R2 together: R3GAN, arXiv:2501.05441)
    GP    weight * (|grad D| - 1)^2 between real and fake (Gulrajani et al. 2017, arXiv:1704.00028)

The squared gradient is exact, or a finite difference: ((D(x + s n) - D(x)) / s)^2 with normal noise
n, whose expectation it is for small s (Lin et al. 2025, arXiv:2501.08316, which calls it
approximated R1 and leaves the division to the weight). That needs another forward pass instead of
second derivatives. Lazily, every k steps times k (Karras et al. 2019, arXiv:1912.04958, appendix
B), it costs little; there the penalty has its own step of the optimizer, here it is added to the
loss of that step. D's inputs are penalized: augmented images, with the step's dropout masks.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from job.config.objective import Gamma
from job.config.spec import RunSpec
from job.gan.noise import BatchSlice, StepNoise
from job.gan.schedules import Schedules
from job.gan.streams import Purpose

DIFFERENCE_STDDEV = 0.01  # of the noise, for pixels in [-1, 1]; the paper's for images
_TINY = 1e-12  # keeps the derivative of a root finite

Logits = Callable[[tf.Tensor], tf.Tensor]  # of images [B, H, W, C]


class Draws(NamedTuple):
    """Noise of a step for images ``[B, H, W, C]``; None if not needed."""

    of_fake: tf.Tensor | None = None
    of_real: tf.Tensor | None = None
    position: tf.Tensor | None = None
    """Where between fake (0) and real (1) image, ``[B, 1, 1, 1]``."""


def exact_squares(logits: Logits, images: tf.Tensor) -> tf.Tensor:
    """Return the squared norms ``[B]`` of the gradients of ``logits`` at ``images``."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        values = logits(images)
    return tf.reduce_sum(tf.square(tape.gradient(values, images)), axis=[1, 2, 3])


def difference_squares(logits: Logits, images: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Return estimates ``[B]`` of the squared norms, from normal ``noise`` like ``images``."""
    at_images = logits(images)
    at_others = logits(images + DIFFERENCE_STDDEV * noise)
    return tf.square((at_others - at_images) / DIFFERENCE_STDDEV)


class Penalties:
    """The penalties of a run. All methods are for one replica's images."""

    def __init__(self, spec: RunSpec, discriminator: keras.Model, schedules: Schedules):
        self._spec, self._discriminator, self._schedules = spec, discriminator, schedules
        self._objective = spec.training.objective
        self._r1, self._r2 = (
            _number(gamma) for gamma in (self._objective.r1_gamma, self._objective.r2_gamma)
        )

    def draw(self, noise: StepNoise, at: BatchSlice, num_images: int) -> Draws:
        """Draw what the penalties need, outside of XLA."""
        own, draws = self._objective, Draws()
        if own.penalty == "finite_difference":
            draws = Draws(
                noise.pixels(Purpose.PENALTY_FAKE, at, num_images) if self._r2 > 0 else None,
                noise.pixels(Purpose.PENALTY_REAL, at, num_images) if self._r1 > 0 else None,
            )
        if own.gradient_penalty > 0:
            position = noise.uniform(Purpose.PENALTY_POSITION, at, num_images, 1)
            draws = draws._replace(position=position[:, :, None, None])
        return draws

    def loss(
        self,
        real: tf.Tensor,
        fake: tf.Tensor,
        masks: tuple[list[tf.Tensor], ...],
        draws: Draws,
        step: tf.Tensor,
    ) -> tf.Tensor:
        """Return this replica's share of the penalties; 0 at steps without.

        ``masks`` are those of the fake and of the real images. No gradient reaches ``fake``.
        """
        every = self._objective.penalty_every

        def due() -> tf.Tensor:
            terms = self._terms(real, tf.stop_gradient(fake), masks, draws, step)
            return tf.add_n(terms) * (every / self._spec.training.global_batch_size)

        if every == 1:
            return due()
        return tf.cond(tf.equal(step % every, 0), due, lambda: tf.constant(0.0))

    def _terms(
        self,
        real: tf.Tensor,
        fake: tf.Tensor,
        masks: tuple[list[tf.Tensor], ...],
        draws: Draws,
        step: tf.Tensor,
    ) -> list[tf.Tensor]:
        own, (fake_masks, real_masks) = self._objective, masks
        half = 0.5 * self._schedules.gamma_factor(step)
        terms = []
        for gamma, images, others, noise in (
            (self._r2, fake, fake_masks, draws.of_fake),
            (self._r1, real, real_masks, draws.of_real),
        ):
            if gamma > 0:
                squares = self._squares(images, others, noise)
                terms.append(half * gamma * tf.reduce_sum(squares))
        if draws.position is not None:
            between = fake + draws.position * (real - fake)
            norms = tf.sqrt(self._squares(between, real_masks, None) + _TINY)
            terms.append(own.gradient_penalty * tf.reduce_sum(tf.square(norms - 1.0)))
        return terms

    def _squares(
        self, images: tf.Tensor, masks: list[tf.Tensor], noise: tf.Tensor | None
    ) -> tf.Tensor:
        def logits(images: tf.Tensor) -> tf.Tensor:
            return self._discriminator([images, *masks], training=False)

        if noise is None:
            return exact_squares(logits, images)
        return difference_squares(logits, images, noise)


def _number(gamma: Gamma) -> float:
    if gamma == "auto":
        raise ValueError("gamma is auto; expected a number (job.training.automatic)")
    return gamma
