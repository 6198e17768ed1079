"""Memorization: are generated images nearer to the training images than held-out real ones are?

Each generated and each held-out image has a distance to its nearest training image. If the
generator copies, its distances are the smaller ones. Meehan, Chaudhuri and Dasgupta 2020, "A
non-parametric test to detect data-copying in generative models", arXiv:2004.05675: the Mann-Whitney
statistic of both sets of distances (here over the whole space, not cell by cell).

This cannot prove the absence of copies (``CAUTION``).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import StrictFloat

from job.data.index import Index
from job.data.rows import row_blocks
from job.quality.frechet import Floats
from job.quality.neighbours import squared_distances
from job.storage.store import ObjectStore

RARE = 0.01
CAUTION = (
    "This does not prove that nothing was copied: a copy that is shifted or recoloured can be far"
    " away in both, one copy among thousands hardly moves a share, and a detail that was learned"
    " from one training image is not an image."
)


class Nearest(NamedTuple):
    """For each query: the number ``[N]`` of its nearest training image, and their distance."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class Memorization:
    """Distances to the nearest training image; shares are of generated images.

    Without memorization ``share_nearer`` is about 0.5 and ``share_rare`` about 0.01. Images that
    are worse than real ones are further away, so both can also be smaller.
    """

    median_generated: StrictFloat
    median_held_out: StrictFloat
    share_nearer: StrictFloat  # probability that a generated image is nearer than a held-out one
    share_rare: StrictFloat  # nearer than 99 % of the held-out images


def near_training(
    store: ObjectStore,
    index: Index,
    describe: Callable[[NDArray[np.uint8]], Floats],
    generated: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
) -> tuple[Memorization, Nearest, NDArray[np.float32]]:
    """Compare images with all of the data set at ``store``, the training images.

    ``describe`` turns images uint8 ``[N, H, W, C]`` into ``[N, D]``: features, or ``pixels``. Also
    return the nearest training image of each generated one, and the distances of held-out ones.
    """
    queries = describe(np.concatenate([generated, held_out]))
    found = nearest(queries, (describe(each.images) for each in row_blocks(store, index)))
    own, other = found.distances[: len(generated)], found.distances[len(generated) :]
    return memorization(own, other), Nearest(found.rows[: len(generated)], own), other


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images as rows whose distance is the root mean square difference in grey levels."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    return rows / np.float32(np.sqrt(rows.shape[1]))


def nearest(queries: Floats, training: Iterable[Floats]) -> Nearest:
    """Return the nearest training row of each of ``queries`` ``[N, D]``.

    The training rows come in blocks ``[M, D]`` and are numbered through. Distances are Euclidean
    and exact: 0 for a copy. Raise ``ValueError`` if there is no training row.
    """
    queries = np.asarray(queries, np.float32)
    distances = np.full(len(queries), np.inf, np.float32)
    numbers = np.full(len(queries), -1, np.int64)
    first = 0
    for block in training:
        block = np.asarray(block, np.float32)
        for rows, squares in squared_distances(queries, block) if len(block) else ():
            columns = squares.argmin(axis=1)
            found = np.linalg.norm(queries[rows] - block[columns], axis=1)
            is_nearer = found < distances[rows]
            numbers[rows] = np.where(is_nearer, first + columns, numbers[rows])
            distances[rows] = np.where(is_nearer, found, distances[rows])
        first += len(block)
    if not first:
        raise ValueError("0 training rows; expected at least 1")
    return Nearest(numbers, distances)


def memorization(generated: Floats, held_out: Floats) -> Memorization:
    """Compare the distances ``[N]`` of generated and ``[M]`` of held-out images, both not empty."""
    ordered = np.sort(held_out)
    nearer = len(ordered) - np.searchsorted(ordered, generated, side="right")
    equal = len(ordered) - np.searchsorted(ordered, generated, side="left") - nearer
    return Memorization(
        median_generated=float(np.median(generated)),
        median_held_out=float(np.median(held_out)),
        share_nearer=float((nearer + equal / 2).mean() / len(ordered)),
        share_rare=float((generated < np.quantile(ordered, RARE)).mean()),
    )
