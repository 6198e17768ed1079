"""One evaluation: all scores of some images and of real ones, with their basis, as JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictFloat

from job.config.errors import ConfigError
from job.data.json_fields import Items, Text, Whole, WrongField, parse_object, validate_fields
from job.quality.memorization import Memorization
from job.quality.scores import Basis, Scores

FORMAT_VERSION = 1
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class NearTraining:
    """Distances to the training images, in two spaces; pixels in grey levels (0 to 255)."""

    features: Memorization
    pixels: Memorization


@dataclass(frozen=True)
class Training:
    """Accuracies on real test images of classifiers that one recipe trained, one for each seed."""

    recipe: Text
    accuracies: Annotated[Items[StrictFloat], Field(min_length=1)]


@dataclass(frozen=True)
class Evaluation:
    """``generated`` scores the images; ``floor`` scores as many other real images instead.

    No generator can be expected to have better scores than the floor. Earlier versions have neither
    ``near_training`` nor ``usefulness``.
    """

    images: Text  # URI: for a run, of the checkpoint
    real: Text  # URI of the packed real images
    seed: Annotated[int, Whole()]
    basis: Basis
    generated: Scores
    floor: Scores
    near_training: NearTraining | None = None
    usefulness: Items[Training] = ()


def to_json(evaluation: Evaluation) -> str:
    """Return the evaluation as one line of JSON."""
    return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(evaluation)})


def parse_evaluation(data: bytes, name: str) -> Evaluation:
    """Return the validated content of file ``name``; raise ``ConfigError`` with the field."""
    try:
        return validate_fields(Evaluation, parse_object(data, MAX_BYTES, FORMAT_VERSION))
    except WrongField as error:
        raise ConfigError(
            f"{name}: {error}. Write it with `dcgan-train evaluate IMAGES --against DATA --json`"
        ) from None
