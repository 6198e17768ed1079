"""Least squares (Mao et al. 2016, arXiv:1611.04076), with labels 0 for fake and 1 for real images.

D minimizes (l - 1)^2 / 2 for a real image and l^2 / 2 for a fake one; G minimizes (l - 1)^2 / 2.
D's slope at a fake is l, which can be 0, so there is no ratio.
"""

import tensorflow as tf

from job.gan.objectives.objective import Objective


def least_squares() -> Objective:
    """Return the objective; the border between real and fake is the logit 1/2."""
    return Objective(
        discriminator_terms=lambda real, fake: (
            0.5 * tf.square(fake),
            0.5 * tf.square(real - 1.0),
        ),
        generator_loss=lambda real, fake: 0.5 * tf.square(fake - 1.0),
        num_terms=2,
        overfitting_sign=lambda real, fake: tf.sign(real - 0.5),
    )
