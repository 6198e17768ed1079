"""Image diversity: one number that falls towards 0 when a generator collapses.

The minibatch standard deviation of Karras et al. 2018 ("Progressive Growing of GANs", section 3) on
pixels instead of features: the standard deviation of each pixel over the batch, averaged over
pixels and channels. Identical images have 0. It does not detect few images that repeat.
"""

import numpy as np
import numpy.typing as npt

WHITE = 255


def diversity(images: npt.NDArray[np.uint8]) -> float:
    """Return the diversity of ``images`` ``[B, H, W, C]`` in [0, 0.71], 1 being a pixel's range.

    Variances are sample variances (over B - 1), so batches of different size can be compared.
    Raises ``ValueError`` for fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images; expected at least 2 to compare")
    return float(images.std(axis=0, ddof=1, dtype=np.float64).mean() / WHITE)
