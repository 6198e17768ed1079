"""Adaptive augmentation: more of it while D overfits, less while it does not.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data"
(arXiv:2006.06676; reference: NVlabs/stylegan2-ada-pytorch, ``training_loop.py``): r is the mean
sign of D's logits for real images. Every 4 steps the probability moves towards more if r is above
the target, else towards less. Every replica computes the same from a sum over all replicas; state
and rule depend on the step alone, so a resumed run continues exactly.
"""

from typing import NamedTuple

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.replica_variable import replica_variable

INTERVAL = 4  # steps between two adjustments


class AdaptiveState(NamedTuple):
    """Float32 scalars, equal on all replicas."""

    probability: tf.Variable
    sign_sum: tf.Variable
    """Of the mean signs since the last adjustment."""


def build_adaptive_state() -> AdaptiveState:
    """Return the state of a fresh run: no augmentation. In the strategy's scope."""
    return AdaptiveState(
        *(replica_variable(0.0, f"augment_{name}") for name in AdaptiveState._fields)
    )


def adjust(spec: RunSpec, state: AdaptiveState, sign_share: tf.Tensor, step: tf.Tensor) -> None:
    """Update ``state`` after ``step`` (from 0) on one replica: a collective operation.

    ``sign_share`` is the sum of this replica's signs, divided by the global batch.
    """
    own, batch = spec.training.augment, spec.training.global_batch_size
    replica = tf.distribute.get_replica_context()
    signs = state.sign_sum + replica.all_reduce(tf.distribute.ReduceOp.SUM, sign_share)
    is_due = tf.equal(step % INTERVAL, INTERVAL - 1)
    pace = INTERVAL * batch / own.adapt_images
    moved = state.probability + pace * tf.sign(signs / INTERVAL - own.target)
    probability = tf.where(is_due, tf.clip_by_value(moved, 0.0, 1.0), state.probability)
    state.probability.assign(probability)
    state.sign_sum.assign(tf.where(is_due, 0.0, signs))
