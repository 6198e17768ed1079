"""The sections of the objective, of augmentation, and of schedules."""

from typing import Annotated, Literal

from pydantic import Field

from job.config.fields import (
    FROM_TEXT,
    NonNegative,
    NonNegativeNumber,
    Positive,
    PositiveNumber,
    Section,
)
from job.config.validation import Expected

Share = Annotated[float, Field(ge=0, le=1), FROM_TEXT]
Gamma = Annotated[NonNegativeNumber | Literal["auto"], Expected("auto, or a number of at least 0")]


class ObjectiveSpec(Section):
    """The functions that the networks minimize."""

    name: Literal["non_saturating", "relativistic", "hinge", "least_squares", "wasserstein"] = (
        "non_saturating"
    )
    """`non_saturating`, as in the notebook; `relativistic` pairing (R3GAN, arXiv:2501.05441);
    `hinge`; `least_squares`; `wasserstein`, with `gradient_penalty` or `spectral_norm`."""
    r1_gamma: Gamma = 0.0
    """Weight of R1, the penalty gamma / 2 * |gradient of D|^2 at real images. `auto`: by the size
    of the images and their number (docs/training.md). Larger: more stable, less varied."""
    r2_gamma: Gamma = 0.0
    """Weight of R2, the same at generated images."""
    gradient_penalty: NonNegativeNumber = 0.0
    """Weight of (|gradient of D| - 1)^2 between real and generated images; Wasserstein GANs: 10."""
    penalty: Literal["exact", "finite_difference"] = "exact"
    """R1 and R2 by second derivatives, or from the logits of slightly noisy images
    (arXiv:2501.08316)."""
    penalty_every: Positive = 1
    """Steps between penalties, each counted that many times: 8 or 16 cost little (StyleGAN2)."""

    @property
    def has_penalty(self) -> bool:
        """True if D has a gradient penalty."""
        return any(weight != 0 for weight in (self.r1_gamma, self.r2_gamma, self.gradient_penalty))


class AugmentSpec(Section):
    """Differentiable augmentation of all images that D sees: for few images.

    DiffAugment (arXiv:2006.10738), with a probability for each image and change.
    """

    mode: Literal["none", "fixed", "adaptive", "auto"] = "none"
    """`fixed`: with `probability`; `adaptive`: with a probability that rises while D overfits
    (arXiv:2006.06676); `auto`: `adaptive` if there are fewer than 10,000 images, but
    `none` with `relativistic` and `wasserstein`, whose logits do not show overfitting."""
    translation: Share = 0.125
    """Largest shift, as a share of the side."""
    cutout: Share = 0.5
    """Side of the square that is cut out, as a share of the image's."""
    color: NonNegativeNumber = 1.0
    """Strength of changes of brightness, saturation and contrast; 1: the paper's."""
    probability: Share = 1.0
    """Probability of each change, with `fixed`; 1: the paper's."""
    target: Annotated[float, Field(ge=-1, le=1), FROM_TEXT] = 0.3
    """With `adaptive`: the mean sign of D's logits for real images to hold; 1 is overfitting. The
    paper's 0.6 is hardly reached with R1 and some hundred thousand images."""
    adapt_images: Positive = 100_000
    """With `adaptive`: images after which the probability can have gone from 0 to 1; the paper has
    500,000."""


class ScheduleSpec(Section):
    """Changes over the first images of a run: from a key's own value to the one here.

    Along half a cosine, as in R3GAN; constant afterwards. Without `images` everything is constant.
    """

    images: NonNegative = 0
    """Images seen at the end of the changes."""
    learning_rate_factor: PositiveNumber = 1.0
    """Factor of both learning rates at the end."""
    beta_2: Annotated[float, Field(ge=0, le=0.99999), FROM_TEXT] | None = None
    """Adam's second-moment decay at the end; unset: constant."""
    gamma_factor: NonNegativeNumber = 1.0
    """Factor of `r1_gamma` and `r2_gamma` at the end."""
    ema_half_life_images: PositiveNumber | None = None
    """`training.ema_half_life_images` at the end; unset: constant."""
    augment_probability: Share | None = None
    """`training.augment.probability` at the end; unset: constant."""
