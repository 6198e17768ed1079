"""Frechet distance between two sets of features, each taken as a normal distribution.

Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", arXiv:1706.08500, section 4 and equation 6; reference implementation: bioinf-jku/TTUR,
``fid.py``. With Inception's features it is the FID. The estimate is too high for few images
(Binkowski et al. 2018, arXiv:1801.01401), so compare distances of equally many images only.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class Moments(NamedTuple):
    """Mean ``[D]`` and covariance ``[D, D]`` of features, float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def moments(features: Floats) -> Moments:
    """Return the moments of ``features`` ``[N, D]``; raise ``ValueError`` for fewer than 2 rows."""
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows of features; expected at least 2")
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    return Moments(mean, centred.T @ centred / (len(values) - 1))


def frechet_distance(real: Moments, generated: Moments) -> float:
    """Return ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, at least 0; 0 for equal moments."""
    return distance_from(real)(generated)


def distance_from(real: Moments) -> Callable[[Moments], float]:
    """Return the function from other moments to their Frechet distance from ``real``.

    The trace of the root is the sum of the square roots of the eigenvalues of the symmetric matrix
    ``C1^(1/2) C2 C1^(1/2)``, which has those of ``C1 C2``. Unlike a general matrix root it needs no
    offset if a covariance is singular. ``C1^(1/2)`` is computed once.
    """
    values, vectors = np.linalg.eigh(real.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T

    def distance(generated: Moments) -> float:
        eigenvalues = np.linalg.eigvalsh(root @ generated.covariance @ root)
        trace = np.trace(real.covariance) + np.trace(generated.covariance)
        trace -= 2.0 * np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
        return max(0.0, float(np.square(real.mean - generated.mean).sum() + trace))

    return distance
