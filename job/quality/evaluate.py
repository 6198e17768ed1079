"""Evaluate images: their scores, their distance to the training images, their usefulness.

real = open_packed("packed/fashion", storage)
evaluation = score_images(real, open_features("classifier", *real, storage), images, uri, seed=0)
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from job.config.errors import ConfigError, DataError
from job.data.index import Index
from job.data.rows import LabelledImages, PackedImages
from job.quality.evaluation import Evaluation, NearTraining, Training
from job.quality.features import Features
from job.quality.memorization import near_training, pixels
from job.quality.pairs import pairs_picture
from job.quality.scores import Basis, score
from job.quality.usefulness import Schedule, Trainer, recipes, with_classes

MAX_TRAIN_BYTES = 1 << 30  # of real pixels in memory
SAME_PIXELS = 0.5  # grey levels: distances are not exact
MAX_KNOWN = 0.1  # share of held-out images that are training images; real data sets have some twice


def check_held_out(held_out: PackedImages, real: PackedImages) -> None:
    """Raise an error if held-out images are those of training, or have another shape."""
    found, expected = held_out.index, real.index
    if found.image_shape != expected.image_shape:
        raise DataError(
            f"{held_out.store.uri}: images are {_shape_text(found)}; expected"
            f" {_shape_text(expected)}. Pack both data sets with the same --size and --channels"
        )
    if found.fingerprint == expected.fingerprint:
        raise ConfigError(
            f"--held-out is {held_out.store.uri}, the same images as --against; expected images"
            " that training did not see. Pack a part of the images apart before training"
        )


def _shape_text(index: Index) -> str:
    return "x".join(map(str, index.image_shape))


def check_trained_on(data_fingerprint: str | None, real: PackedImages, uri: str) -> None:
    """Raise ``ConfigError`` if a run was trained on other images than ``real``; None: unknown."""
    if data_fingerprint not in (None, real.index.fingerprint):
        raise ConfigError(
            f"--against is {real.store.uri}, but {uri} was trained on other images; expected its"
            " training images to compare with --held-out"
        )


def score_images(
    real: PackedImages, features: Features, images: LabelledImages, uri: str, seed: int
) -> Evaluation:
    """Score images against as many real ones, and as many other real ones as the floor.

    ``real`` has at least twice as many as ``images``.
    """
    num = len(images.images)
    first, second = (features.extract(real.read(start, num).images) for start in (0, num))
    return Evaluation(
        images=uri,
        real=real.store.uri,
        seed=seed,
        basis=Basis(features.name, features.fingerprint, real.index.fingerprint, num, num),
        generated=score(first, features.extract(images.images), seed),
        floor=score(first, second, seed),
    )


def compare_with_training(
    real: PackedImages, features: Features, images: LabelledImages, held_out: LabelledImages
) -> tuple[NearTraining, Image.Image]:
    """Return distances to all of ``real``, the training images, and the picture of pairs.

    Raise ``ConfigError`` if many held-out images are training images.
    """
    (in_pixels, by_pixels, known), (in_features, by_features, _) = (
        near_training(real.store, real.index, describe, images.images, held_out.images)
        for describe in (pixels, features.extract)
    )
    if (share := float(np.mean(known < SAME_PIXELS))) > MAX_KNOWN:
        raise ConfigError(
            f"{share:.0%} of the held-out images are also in {real.store.uri}; expected images that"
            " training did not see. Pack a part of the images apart before training"
        )
    picture = pairs_picture(real.store, real.index, images.images, [by_features, by_pixels])
    return NearTraining(in_features, in_pixels), picture


def usefulness_measurement(
    real: PackedImages,
    images: tuple[LabelledImages, str],
    held_out: tuple[LabelledImages, str],
    schedule: Schedule,
    on_training: Callable[[str], None],
) -> Callable[[], tuple[Training, ...]]:
    """Return what trains each recipe and tests it on the held-out images, which have their URI.

    ``on_training`` gets the name of each recipe before its trainings. Raise ``DataError`` now for
    images without classes, with others than the real ones, or with too few of one.
    """
    everything = real.read(0, MAX_TRAIN_BYTES // real.index.row_bytes)
    training, generated, test = (
        with_classes(data, everything.class_names, uri)
        for data, uri in ((everything, real.store.uri), images, held_out)
    )
    compared = recipes(training, generated, schedule.per_class)

    def measure() -> tuple[Training, ...]:
        found, trainer = [], Trainer(test, schedule)
        for recipe in compared:
            on_training(recipe.name)
            found.append(Training(recipe.name, trainer.accuracies(recipe)))
        return tuple(found)

    return measure
