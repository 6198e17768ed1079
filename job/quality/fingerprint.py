"""The fingerprint of a feature extractor."""

import hashlib

import keras
import numpy as np


def fingerprint(kind: str, model: keras.Model) -> str:
    """Return the SHA-256, in hex, over ``kind`` and the name, shape and bytes of every weight.

    ``kind`` names what the weights do not show: the layers and how images are scaled.
    """
    digest = hashlib.sha256(kind.encode())
    for variable in model.variables:
        values = np.ascontiguousarray(variable.numpy())
        digest.update(f"\n{variable.path} {values.shape} {values.dtype}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
