"""All scores of a set of generated images against real ones, and a guard for comparing scores."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, StrictFloat

from job.config.errors import ConfigError
from job.data.json_fields import Items, Sha256, Text, Whole
from job.quality.frechet import Floats, distance_from, moments
from job.quality.kernel import kernel_distance
from job.quality.neighbours import neighbourhood

RESAMPLES = 50
_NORMAL_95 = 1.96  # half of a 95 % interval, in standard errors


@dataclass(frozen=True)
class Basis:
    """The conditions of a score. Scores can be compared if and only if these are equal."""

    features: Text  # name of the features
    features_fingerprint: Sha256
    real_fingerprint: Sha256  # of the packed real images
    num_real: Annotated[int, Whole(1)]
    num_generated: Annotated[int, Whole(1)]


@dataclass(frozen=True)
class Scores:
    """Distances are 0 for equal distributions and have no upper bound.

    The interval holds the Frechet distance of 95 % of other samples of as many generated images.
    """

    frechet_distance: StrictFloat
    frechet_interval: Annotated[Items[StrictFloat], Field(min_length=2, max_length=2)]  # low, high
    kernel_distance: StrictFloat
    kernel_error: StrictFloat  # standard error
    precision: StrictFloat
    recall: StrictFloat
    density: StrictFloat
    coverage: StrictFloat


def score(real: Floats, generated: Floats, seed: int = 0) -> Scores:
    """Compare features of real ``[N, D]`` and generated images ``[M, D]``, N and M at least 20.

    ``seed`` draws the subsets of the kernel distance, and 50 bootstrap samples of the generated
    images (Efron 1979), whose spread gives the interval of the Frechet distance. Their mean does
    not: a sample with repeated images has a larger distance.
    """
    distance, random = distance_from(moments(real)), np.random.default_rng(seed)
    frechet = distance(moments(generated))
    resampled = [
        distance(moments(generated[random.integers(0, len(generated), len(generated))]))
        for _ in range(RESAMPLES)
    ]
    half = _NORMAL_95 * float(np.std(resampled, ddof=1))
    kernel, near = kernel_distance(real, generated, seed), neighbourhood(real, generated)
    return Scores(
        frechet_distance=frechet,
        frechet_interval=(max(0.0, frechet - half), frechet + half),
        kernel_distance=kernel.mean,
        kernel_error=kernel.standard_error,
        precision=near.precision,
        recall=near.recall,
        density=near.density,
        coverage=near.coverage,
    )


def check_comparable(first: tuple[str, Basis], second: tuple[str, Basis]) -> None:
    """Raise ``ConfigError``, naming both scores, unless they have the same basis."""
    (name, basis), (other_name, other) = first, second
    for field, value in vars(basis).items():
        if (found := vars(other)[field]) != value:
            raise ConfigError(
                f"{name} has {field} {_shown(value)}, {other_name} has {_shown(found)}; expected"
                " equal ones, or the scores say nothing about each other. Run `dcgan-train"
                " evaluate` for both with the same --features, --against and --num"
            )


def _shown(value: object) -> str:
    return value[:16] if isinstance(value, str) else str(value)
