"""A picture of the generated images that are nearest to a training image, beside that image."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from job.data.index import Index
from job.data.rows import read_rows
from job.images.grids import image_grid
from job.quality.memorization import Nearest
from job.storage.store import ObjectStore

NUM_PAIRS = 20
_SHOWN_PIXELS = 64


def pairs_picture(
    store: ObjectStore, index: Index, generated: NDArray[np.uint8], found: list[Nearest]
) -> Image.Image:
    """Return two rows for each of ``found``: generated images, their training images below.

    ``generated`` are the images uint8 ``[N, H, W, C]``; ``found`` has their nearest rows of the
    data set, in one or more spaces. The twenty closest pairs of each are shown, the closest first.
    """
    rows: list[NDArray[np.uint8]] = []
    for nearest in found:
        closest = np.argsort(nearest.distances, kind="stable")[:NUM_PAIRS]
        numbers, places = np.unique(nearest.rows[closest], return_inverse=True)
        rows += [generated[closest], read_rows(store, index, numbers).images[places]]
    scale = max(1, _SHOWN_PIXELS // max(index.image_shape[:2]))
    return image_grid(np.concatenate(rows), len(rows), len(rows[0]), scale, padding=2)
