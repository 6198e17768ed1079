"""The non-saturating objective (Goodfellow et al. 2014, arXiv:1406.2661), on logits.

With logit l, D minimizes softplus(-l) for a real image and softplus(l) for a fake one; G minimizes
softplus(-l) for its fake. Binary cross-entropy on sigmoid(l) is the same function, computed less
stably.
"""

import tensorflow as tf

from job.gan.objectives.objective import LOWEST_LOGIT, Objective


def non_saturating(real_label: float = 1.0) -> Objective:
    """Return the objective; D's target for real images is ``real_label``.

    Less than 1 is one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498).
    """

    def discriminator_terms(real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, ...]:
        labels = tf.fill(tf.shape(real), real_label)
        of_real = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=real)
        return tf.nn.softplus(fake), of_real

    return Objective(
        discriminator_terms,
        generator_loss=lambda real, fake: tf.nn.softplus(-fake),
        num_terms=2,
        fake_gradient_ratio=_ratio,
        overfitting_sign=lambda real, fake: tf.sign(real),
    )


def _ratio(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """The slopes at l are sigmoid(l) and sigmoid(l) - 1; their quotient is -exp(-l)."""
    return -tf.exp(-tf.maximum(fake, LOWEST_LOGIT))
