"""PNGs of generated images, by TensorFlow: a block at a time, without Python's lock."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from job.synthesis.marking import marked


def encode_pngs(images: NDArray[np.uint8], *, mark: bool) -> list[bytes]:
    """Return ``images`` ``[B, H, W, C]`` as PNGs, marked as synthetic if wanted."""
    pngs = tf.io.encode_png(images).numpy().ravel().tolist()
    return [marked(png) for png in pngs] if mark else pngs
