"""The Wasserstein objective (Arjovsky et al. 2017, arXiv:1701.07875).

D minimizes D(G(z)) - D(x), G minimizes -D(G(z)). D must be smooth: by a gradient penalty (Gulrajani
et al. 2017, arXiv:1704.00028; ``job.gan.penalties``) or by spectral normalization. The papers
update D five times for each update of G; here it is once, so give D the larger learning rate.
"""

import tensorflow as tf

from job.gan.objectives.objective import Objective


def wasserstein() -> Objective:
    """Return the objective; only differences of logits mean anything."""
    return Objective(
        discriminator_terms=lambda real, fake: (fake - real,),
        generator_loss=lambda real, fake: -fake,
        num_terms=1,
        fake_gradient_ratio=lambda real, fake: -tf.ones_like(fake),
    )
