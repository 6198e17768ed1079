"""Relativistic pairing: D compares each fake with a real image.

D minimizes softplus(-(D(x) - D(G(z)))), G the same with the sign of the difference changed.
Jolicoeur-Martineau 2018 (arXiv:1807.00734); with R1 and R2 as in R3GAN (Huang et al. 2025,
arXiv:2501.05441; reference: brownvc/R3GAN, ``Trainer.py``).
"""

import tensorflow as tf

from job.gan.objectives.objective import LOWEST_LOGIT, Objective


def relativistic() -> Objective:
    """Return the objective; no logit alone says whether its image is real."""
    return Objective(
        discriminator_terms=lambda real, fake: (tf.nn.softplus(fake - real),),
        generator_loss=lambda real, fake: tf.nn.softplus(real - fake),
        num_terms=1,
        fake_gradient_ratio=_ratio,
        uses_pairs=True,
    )


def _ratio(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """With d = fake - real the slopes are sigmoid(d) and -sigmoid(-d): quotient -exp(-d)."""
    return -tf.exp(-tf.maximum(fake - real, LOWEST_LOGIT))
