"""Losses per sample, on logits (Goodfellow et al. 2014, non-saturating form).

With logit l, the discriminator's loss is softplus(-l) for a real image and softplus(l) for a fake
one; the generator's is softplus(-l) for its fake. Binary cross-entropy on sigmoid(l) is the same
function, computed less stably. All take and return float32 ``[B]``.
"""

import tensorflow as tf

LOWEST_LOGIT = -60.0  # sigmoid(-60) is 1e-26: times any gradient in use still a normal float32


def discriminator_loss_real(logits: tf.Tensor, label: float) -> tf.Tensor:
    """Return the cross-entropy against ``label`` (1, or less with one-sided smoothing)."""
    return tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.fill(tf.shape(logits), label), logits=logits
    )


def discriminator_loss_fake(logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy against 0."""
    return tf.nn.softplus(logits)


def generator_loss(logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of the fake's logit against 1."""
    return tf.nn.softplus(-logits)


def generator_over_discriminator_gradient(fake_logits: tf.Tensor) -> tf.Tensor:
    """Return the factor from the gradient of D's loss at a fake image to that of G's loss.

    Both losses see the image only through its logit l, with slopes sigmoid(l) and sigmoid(l) - 1,
    whose quotient is -exp(-l). This holds for each sample as long as D treats samples separately,
    that is without batch normalization in D.
    """
    return -tf.exp(-tf.maximum(fake_logits, LOWEST_LOGIT))
