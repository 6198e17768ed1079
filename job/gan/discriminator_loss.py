"""D's forward pass and loss on one replica's images, with all that a run adds to it.

Losses are sums over the replica's samples divided by the *global* batch (``job.gan.step``).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.augmentation import Augment, Augmentation
from job.gan.networks import Networks
from job.gan.noise import BatchSlice, StepNoise
from job.gan.objectives.objective import Objective
from job.gan.objectives.select import objective_of
from job.gan.penalties import Draws as PenaltyDraws
from job.gan.penalties import Penalties
from job.gan.schedules import Schedules
from job.gan.streams import Purpose

Pair = tuple[tf.Tensor, tf.Tensor]  # logits [B] of real and of fake images
Masks = tuple[list[tf.Tensor], ...]  # D's other inputs for fake and for real images


class Rules(NamedTuple):
    """The parts of a training step that the configuration chooses."""

    spec: RunSpec
    noise: StepNoise
    objective: Objective
    penalties: Penalties
    augmentation: Augmentation
    schedules: Schedules


class Draws(NamedTuple):
    """Random numbers of one forward pass through D."""

    masks: Masks
    fake: Augment | None
    real: Augment | None
    penalties: PenaltyDraws


def build_rules(spec: RunSpec, networks: Networks, noise_stream: int) -> Rules:
    """Return the rules of ``spec``."""
    noise, schedules = StepNoise(spec, networks, noise_stream), Schedules(spec)
    return Rules(
        spec,
        noise,
        objective_of(spec.training),
        Penalties(spec, networks.discriminator, schedules),
        Augmentation(spec, networks.adaptive, noise, schedules),
        schedules,
    )


def draw(rules: Rules, at: BatchSlice, num_images: int) -> Draws:
    """Draw the random numbers of D's update, outside of XLA."""
    return Draws(
        rules.noise.both_masks(at, num_images),
        rules.augmentation.draw(Purpose.AUGMENT_FAKE, at, num_images),
        rules.augmentation.draw(Purpose.AUGMENT_REAL, at, num_images),
        rules.penalties.draw(rules.noise, at, num_images),
    )


def discriminate(
    spec: RunSpec, discriminator: keras.Model, fake: tf.Tensor, real: tf.Tensor, masks: Masks
) -> Pair:
    """Return the logits of real and of fake images: as one batch, which is faster.

    As two batches if D normalizes, because its batch statistics must not mix them.
    """
    fake_masks, real_masks = masks
    if spec.model.discriminator.normalize:
        fake_logits = discriminator([fake, *fake_masks], training=True)
        return discriminator([real, *real_masks], training=True), fake_logits
    both_masks = [tf.concat(pair, axis=0) for pair in zip(fake_masks, real_masks, strict=True)]
    logits = discriminator([tf.concat([fake, real], axis=0), *both_masks], training=True)
    return logits[fake.shape[0] :], logits[: fake.shape[0]]


def mean_of_terms(objective: Objective, logits: Pair, batch: int) -> tf.Tensor:
    """Return this replica's share of D's loss without penalties: the mean of its terms."""
    sums = [tf.reduce_sum(term) for term in objective.discriminator_terms(*logits)]
    return tf.add_n(sums) / (objective.num_terms * batch)


def with_penalties(
    rules: Rules, loss: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, draws: Draws, step: tf.Tensor
) -> tf.Tensor:
    """Return D's loss with its penalties, whose weights are for the sum of the terms."""
    if not rules.spec.training.objective.has_penalty:
        return loss
    penalty = rules.penalties.loss(real, fake, draws.masks, draws.penalties, step)
    return loss + penalty / rules.objective.num_terms


def judgements(logits: Pair, batch: int) -> list[tf.Tensor]:
    """Return this replica's shares of the mean D(x), the mean D(G(z)) and D's accuracy.

    The accuracy is the share of pairs whose real image has the larger logit, half of it if both are
    equal: it does not depend on the objective, most of which give a single logit no meaning.
    """
    real, fake = logits
    is_right = 0.5 + 0.5 * tf.sign(real - fake)
    values = tf.sigmoid(real), tf.sigmoid(fake), is_right
    return [tf.reduce_sum(value) / batch for value in values]


def overfitting_share(rules: Rules, logits: Pair) -> tf.Tensor | None:
    """Return this replica's share of the mean sign that adaptive augmentation follows."""
    training = rules.spec.training
    if training.augment.mode != "adaptive" or rules.objective.overfitting_sign is None:
        return None
    signs = rules.objective.overfitting_sign(*logits)
    return tf.reduce_sum(signs) / training.global_batch_size
