"""The hinge objective (Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957).

D minimizes max(0, 1 - l) for a real image and max(0, 1 + l) for a fake one; G minimizes -l. A fake
below -1 has no gradient in D's loss but has one in G's, so there is no ratio.
"""

import tensorflow as tf

from job.gan.objectives.objective import Objective


def hinge() -> Objective:
    """Return the objective."""
    return Objective(
        discriminator_terms=lambda real, fake: (tf.nn.relu(1.0 + fake), tf.nn.relu(1.0 - real)),
        generator_loss=lambda real, fake: -fake,
        num_terms=2,
        overfitting_sign=lambda real, fake: tf.sign(real),
    )
