"""Replace the values ``auto`` of a run, by the size of its images and their number.

gamma grows with the number of pixels, as in the guide of StyleGAN3 (NVlabs/stylegan3,
docs/configs.md: twice the side, four times the gamma). Fewer images need a smoother D, because it
learns them by heart: gamma grows with the root of what is missing to 60,000, at most to 1.6 times.
docs/quality.md has the measurements behind ``GAMMA_PER_PIXEL``, docs/scarce-data.md those of
augmentation.
"""

import math

from job.config.check_training import WITH_BORDER
from job.config.objective import Gamma
from job.config.spec import RunSpec

GAMMA_PER_PIXEL = 2 / 28**2
ENOUGH_IMAGES = 60_000
MAX_SCARCITY = 1.6
FEW_IMAGES = 10_000  # below, D sees augmented images if it overfits


def without_auto(spec: RunSpec, num_images: int) -> RunSpec:
    """Return ``spec`` for a data set of ``num_images``, without a value ``auto``."""
    training, gamma = spec.training, automatic_gamma(spec, num_images)
    objective, mode = training.objective, training.augment.mode
    if mode == "auto":
        can_adapt = objective.name in WITH_BORDER
        mode = "adaptive" if can_adapt and num_images < FEW_IMAGES else "none"
    objective = objective.replace(
        r1_gamma=_number(objective.r1_gamma, gamma), r2_gamma=_number(objective.r2_gamma, gamma)
    )
    augment = training.augment.replace(mode=mode)
    return spec.replace(training=training.replace(objective=objective, augment=augment))


def automatic_gamma(spec: RunSpec, num_images: int) -> float:
    """Return the weight of R1 or R2 for ``auto``, to three digits."""
    height, width = spec.model.image_size
    scarcity = min(MAX_SCARCITY, math.sqrt(max(1.0, ENOUGH_IMAGES / num_images)))
    return float(f"{GAMMA_PER_PIXEL * height * width * scarcity:.3g}")


def _number(gamma: Gamma, automatic: float) -> float:
    return automatic if gamma == "auto" else gamma
