"""How much the images of a batch differ from each other: one number that falls towards 0 when a generator collapses.

The minibatch standard deviation of Karras et al. 2018 ("Progressive Growing of GANs", section 3) on pixels instead of features: the standard
deviation of each pixel over the batch, averaged over pixels and channels. It costs a pass over the batch. Images that are copies of one another
have 0; it cannot tell few different images, repeated, from many.
"""

import numpy as np
import numpy.typing as npt

WHITE = 255


def diversity(images: npt.NDArray[np.uint8]) -> float:
    """Of ``images`` ``[B, H, W, C]``, uint8, B at least 2: in [0, 0.71], in units of the full range of a pixel.

    The variances are those of a sample (over B - 1), so batches of different size can be compared. ``ValueError`` for fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images; expected at least 2 to compare")
    return float(images.std(axis=0, ddof=1, dtype=np.float64).mean() / WHITE)
