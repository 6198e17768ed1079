"""Precision, recall, density and coverage: are images real enough, and are they all there?

Each set of features is covered by balls, one around each row, that reach to its k-th nearest
neighbour in the same set. Precision and recall: Kynkaanniemi et al. 2019, "Improved precision and
recall metric for assessing generative models", arXiv:1904.06991. Density and coverage: Naeem et al.
2020, "Reliable fidelity and diversity metrics for generative models", arXiv:2002.09797; reference
implementation of all four: clovaai/generative-evaluation-prdc. All four depend on the number of
images and on k.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.quality.frechet import Floats

NEIGHBOURS = 5
_ROWS_AT_ONCE = 1000  # a block of distances to 10,000 rows has 40 MB


class Neighbourhood(NamedTuple):
    """Shares of images; density can exceed 1."""

    precision: float  # of generated images in the ball of a real one
    recall: float  # of real images in the ball of a generated one
    density: float  # balls of real images that hold a generated one, over k
    coverage: float  # of real images that have a generated one in their ball


def neighbourhood(real: Floats, generated: Floats, k: int = NEIGHBOURS) -> Neighbourhood:
    """Compare ``real`` ``[N, D]`` with ``generated`` ``[M, D]``.

    Memory is that of a block of distances, 1,000 x max(N, M). Raise ``ValueError`` unless both have
    more than ``k`` rows.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f"{min(len(real), len(generated))} rows of features; expected more than {k}"
        )
    centre = np.mean(real, axis=0)  # near 0, float32 is exact enough for differences of squares
    real, generated = np.asarray(real - centre, "f4"), np.asarray(generated - centre, "f4")
    real_radii, generated_radii = _radii(real, k), _radii(generated, k)
    in_real = np.zeros(len(generated), np.int64)
    recalled = np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for rows, distances in squared_distances(real, generated):
        inside = distances < real_radii[rows, None]
        in_real += inside.sum(axis=0)
        covered[rows] = distances.min(axis=1) < real_radii[rows]
        recalled[rows] = (distances < generated_radii[None]).any(axis=1)
    return Neighbourhood(
        precision=float((in_real > 0).mean()),
        recall=float(recalled.mean()),
        density=float(in_real.mean() / k),
        coverage=float(covered.mean()),
    )


def _radii(features: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Return the squared distance of each row to its k-th nearest other row."""
    radii = np.empty(len(features), np.float32)
    for rows, distances in squared_distances(features, features):
        radii[rows] = np.partition(distances, k, axis=1)[:, k]  # the first is the row itself
    return radii


def squared_distances(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield blocks of rows of ``x`` with their squared distances to all rows of ``y``."""
    squares = np.square(y).sum(axis=1)
    for first in range(0, len(x), _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, len(x)))
        block = np.square(x[rows]).sum(axis=1)[:, None] + squares - 2.0 * (x[rows] @ y.T)
        yield rows, np.maximum(block, 0.0)
