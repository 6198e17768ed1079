"""Losses of the two players, per sample and on logits (Goodfellow et al. 2014, non-saturating form).

With logit l: the discriminator pays softplus(-l) for a real image and softplus(l) for a fake one, the generator pays softplus(-l) for its fake.
Binary cross-entropy on sigmoid(l) is the same function, computed less stably. All take and give float32 ``[B]``.
"""

import tensorflow as tf

LOWEST_LOGIT = -60.0  # sigmoid(-60) is 1e-26: times any gradient in use still a normal float32


def discriminator_loss_real(logits: tf.Tensor, label: float) -> tf.Tensor:
    """Cross-entropy against ``label`` (1, or less with one-sided smoothing)."""
    return tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.fill(tf.shape(logits), label), logits=logits
    )


def discriminator_loss_fake(logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy against 0."""
    return tf.nn.softplus(logits)


def generator_loss(logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the fake's logit against 1."""
    return tf.nn.softplus(-logits)


def generator_over_discriminator_gradient(fake_logits: tf.Tensor) -> tf.Tensor:
    """By what the gradient of D's loss at a fake image is multiplied to give the gradient of G's loss there.

    Both losses see the image only through its logit l, with slopes sigmoid(l) and sigmoid(l) - 1; their quotient is -exp(-l). Holds sample by
    sample as long as D treats samples alone, that is without batch normalization in D.
    """
    return -tf.exp(-tf.maximum(fake_logits, LOWEST_LOGIT))
