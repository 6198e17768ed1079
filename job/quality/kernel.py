"""Kernel distance between two sets of features: KID if the features are Inception's.

Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4: the squared maximum
mean discrepancy with the kernel ``(x . y / D + 1)^3``. It is unbiased: its expectation does not
depend on the number of images, and it can be below 0. Reference implementation:
mbinkowski/MMD-GAN, ``compute_scores.py``, which averages subsets of 1,000 images; here the mean is
that of all pairs of images, which has the same expectation and the smallest variance.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from job.quality.frechet import Floats

MIN_ROWS = 20
_NUM_SUBSETS = 10
_ROWS_AT_ONCE = 1000  # a block of the kernel for 10,000 images has 80 MB


class KernelDistance(NamedTuple):
    """The distance and its standard error."""

    mean: float
    standard_error: float


def kernel_distance(real: Floats, generated: Floats, seed: int = 0) -> KernelDistance:
    """Return the distance of ``real`` ``[N, D]`` and ``generated`` ``[M, D]``.

    The standard error is that of the mean over 10 subsets, drawn by ``seed``, that share no image.
    The mean over all pairs is at least as exact. Raise ``ValueError`` for fewer than 20 rows.
    """
    num_rows = min(len(real), len(generated))
    if num_rows < MIN_ROWS:
        raise ValueError(f"{num_rows} rows of features; expected at least {MIN_ROWS}")
    random = np.random.default_rng(seed)
    pairs = zip(_subsets(real, random), _subsets(generated, random), strict=True)
    distances = [squared_mmd(x, y) for x, y in pairs]
    error = np.std(distances, ddof=1) / np.sqrt(_NUM_SUBSETS)
    return KernelDistance(squared_mmd(real, generated), float(error))


def squared_mmd(x: Floats, y: Floats) -> float:
    """Return the unbiased estimate for ``x`` ``[N, D]`` and ``y`` ``[M, D]``, at least 2 rows each.

    Pairs of a row with itself do not count.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    within = [
        (_kernel_sum(rows, rows) - _kernel(np.square(rows).sum(axis=1), rows.shape[1]).sum())
        / (len(rows) * (len(rows) - 1))
        for rows in (x, y)
    ]
    return float(sum(within) - 2.0 * _kernel_sum(x, y) / (len(x) * len(y)))


def _subsets(features: Floats, random: np.random.Generator) -> Iterator[Floats]:
    for rows in np.array_split(random.permutation(len(features)), _NUM_SUBSETS):
        yield features[rows]


def _kernel_sum(x: Floats, y: Floats) -> float:
    """Return the sum of the kernel over all pairs of rows, in blocks."""
    blocks = (x[first : first + _ROWS_AT_ONCE] for first in range(0, len(x), _ROWS_AT_ONCE))
    return float(sum(_kernel(block @ y.T, x.shape[1]).sum() for block in blocks))


def _kernel(products: Floats, num_features: int) -> Floats:
    base = products / num_features + 1.0
    return np.asarray(base * base * base)  # `** 3` takes ten times as long
