"""Image diversity: one number that falls towards 0 when a generator collapses.

The minibatch standard deviation of Karras et al. 2018 ("Progressive Growing of GANs", section 3) on
pixels instead of features: the standard deviation of each pixel over the batch, averaged over
pixels and channels. Identical images have 0. It does not detect few images that repeat. Of images
with classes it is taken within each class: classes differ even if each is one image.
"""

import numpy as np
import numpy.typing as npt

WHITE = 255


def diversity(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer] | None = None
) -> float | None:
    """Return the diversity of ``images`` ``[B, H, W, C]`` in [0, 0.71], 1 being a pixel's range.

    With ``labels`` ``[B]``, that within a class: the mean over classes, by their number of images.
    A class of one image is left out, and the result None if there are no two images to compare.
    Variances are sample variances (over B - 1), so batches of different size can be compared.
    """
    classes = [images] if labels is None else [images[labels == each] for each in np.unique(labels)]
    compared = [members for members in classes if len(members) > 1]
    if not compared:
        return None
    deviations = [members.std(axis=0, ddof=1, dtype=np.float64).mean() for members in compared]
    return float(np.average(deviations, weights=[len(each) for each in compared]) / WHITE)
