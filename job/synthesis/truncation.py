"""The truncation trick: fewer odd images, less variety.

Brock et al. 2019 (arXiv:1809.11096, section 3.1) draw latents from a normal distribution cut off at
a threshold, by drawing again. Here each number is mapped by the two distributions' quantiles, as
``scipy.stats.truncnorm.ppf(norm.cdf(x), -T, T)``: no number is drawn again, so image 7 with a
threshold is image 7 without one, moved towards the average.
"""

import math

import tensorflow as tf


def truncated(latents: tf.Tensor, threshold: float) -> tf.Tensor:
    """Return standard normal ``latents``, float32, as truncated ones in [-threshold, threshold]."""
    normal = tf.cast(latents, tf.float64)
    inside = math.erf(threshold / math.sqrt(2))  # probability of [-threshold, threshold]
    # Mapped below zero, where small probabilities keep their digits, and mirrored.
    probability = 0.5 * tf.math.erfc(tf.abs(normal) / math.sqrt(2))
    outside = (1 - inside) / 2
    mapped = tf.math.ndtri(outside + inside * probability)
    limited = tf.clip_by_value(mapped, -threshold, 0.0)
    return tf.cast(-limited * tf.sign(normal), tf.float32)
