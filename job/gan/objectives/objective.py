"""The interface of an objective; the training step depends on nothing else of it.

Suffixes: B images. Real and fake image of one place in the batch are a pair. All functions take the
float32 logits ``[B]`` of the pairs' real and fake images and return float32 ``[B]``.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

OfPairs = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of real and fake logits

LOWEST_LOGIT = -60.0  # sigmoid(-60) is 1e-26: times any gradient in use still a normal float32


class Objective(NamedTuple):
    """Losses of D and of G for each pair of images; ``num_terms`` of them make D's."""

    discriminator_terms: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]
    """The terms of D's loss. Papers add them up; the step minimizes their mean, penalties included,
    so that only the scale of the loss differs, which Adam and RMSprop do not see."""
    generator_loss: OfPairs
    num_terms: int
    fake_gradient_ratio: OfPairs | None = None
    """The gradient of G's loss at a fake image over that of D's (the sum of its terms), if that is
    a finite number: both see the image only through its logit. It serves simultaneous updates."""
    overfitting_sign: OfPairs | None = None
    """1 if D takes the real image for real, else -1 (0 in between), if one logit decides that."""
    uses_pairs: bool = False
    """Whether G's loss depends on the real image, too."""
