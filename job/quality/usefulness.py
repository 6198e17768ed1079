"""Usefulness: does a classifier learn from generated images what it should know of real ones?

The classification accuracy score: train on generated images only, test on real ones (Ravuri and
Vinyals 2019, "Classification accuracy score for conditional generative models", arXiv:1905.10887).
And the question of people with few images: do generated images help more than ordinary
augmentation? All trainings have the same network and the same number of steps.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.config.text import counted
from job.data.rows import LabelledImages
from job.quality.classifier import BATCH_SIZE, accuracy, build_classifier, compiled, scale


class Schedule(NamedTuple):
    """Number of real images of each class if they are few, steps of a training, and its seeds."""

    per_class: int
    num_steps: int
    seeds: range


class Recipe(NamedTuple):
    """The images to train a classifier on: an equal part of each batch from each set."""

    name: str
    sets: tuple[LabelledImages, ...]
    is_augmented: bool = False


def recipes(real: LabelledImages, generated: LabelledImages, per_class: int) -> list[Recipe]:
    """Return the trainings to compare; ``real`` are all real training images.

    The first ``per_class`` real images of each class are the few ones. Raise ``DataError`` if a
    class has fewer, or no generated image.
    """
    few, name = first_of_each_class(real, per_class), f"{per_class} real a class"
    first_of_each_class(generated, 1, "generated")
    return [
        Recipe("all real", (real,)),
        Recipe("generated only", (generated,)),
        Recipe(name, (few,)),
        Recipe(f"{name}, augmented", (few,), True),
        Recipe(f"{name} + generated", (few, generated)),
        Recipe(f"{name} + generated, augmented", (few, generated), True),
    ]


def first_of_each_class(data: LabelledImages, per_class: int, kind: str = "real") -> LabelledImages:
    """Return the first ``per_class`` images of each class; ``DataError`` if one has fewer."""
    rows = [np.flatnonzero(data.labels == label) for label in range(len(data.class_names))]
    for name, found in zip(data.class_names, rows, strict=True):
        if len(found) < per_class:
            remedy = (
                "Use fewer a class (--per-class)" if kind == "real" else "Use more (--generated)"
            )
            raise DataError(
                f"class {name} has {counted(len(found), f'{kind} image')}; expected at least"
                f" {per_class:,} of each class. {remedy}"
            )
    chosen = np.concatenate([found[:per_class] for found in rows])
    assert data.labels is not None
    return LabelledImages(data.images[chosen], data.labels[chosen], data.class_names)


def with_classes(data: LabelledImages, class_names: tuple[str, ...], uri: str) -> LabelledImages:
    """Return the labelled images, with the numbers of ``class_names``.

    Raise ``DataError`` if there are no classes, or others.
    """
    if data.labels is None:
        raise DataError(
            f"{uri}: the images have no classes; expected a folder or an archive with one folder a"
            " class, or images packed with their classes"
        )
    if unknown := sorted(set(data.class_names) - set(class_names)):
        raise DataError(
            f"{uri}: has class {unknown[0]}; expected those of the real images:"
            f" {', '.join(class_names)[:300]}. Rename the folders of the classes"
        )
    numbers = np.array([class_names.index(name) for name in data.class_names], np.int32)
    rows = data.labels >= 0
    return LabelledImages(data.images[rows], numbers[data.labels[rows]], class_names)


class Trainer:
    """Trains classifiers one after the other; its one network is traced once, not each time."""

    def __init__(self, test: LabelledImages, schedule: Schedule) -> None:
        self._test, self._schedule = test, schedule
        self._shape = test.images.shape[1:], len(test.class_names)
        self._model = build_classifier(*self._shape, seed=0)
        self._trained = compiled(self._model, schedule.num_steps)
        self._trained.optimizer.build(self._trained.trainable_variables)

    def accuracies(self, recipe: Recipe) -> tuple[float, ...]:
        """Train from new weights for each seed; return the accuracies on ``test``, bit for bit."""
        assert self._test.labels is not None
        found = []
        for seed in self._schedule.seeds:
            self._model.set_weights(build_classifier(*self._shape, seed).get_weights())
            for variable in self._trained.optimizer.variables:
                variable.assign(keras.ops.zeros_like(variable))
            augment = augmentation(seed) if recipe.is_augmented else lambda images: images
            batches = _batches(recipe.sets, self._schedule.num_steps, np.random.default_rng(seed))
            for images, labels in batches:
                self._trained.train_on_batch(augment(scale(images)), labels)
            found.append(accuracy(self._trained, self._test.images, self._test.labels))
        return tuple(found)


def augmentation(seed: int) -> Callable[[NDArray[np.float32]], keras.KerasTensor]:
    """Return a function that shifts (10 %), zooms (10 %) and turns (11 degrees) images at random.

    It does not mirror them, which would make other digits and letters.
    """
    layers = [
        keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", seed=seed),
        keras.layers.RandomZoom(0.1, fill_mode="nearest", seed=seed + 1),
        keras.layers.RandomRotation(0.03, fill_mode="nearest", seed=seed + 2),
    ]

    def augment(images: NDArray[np.float32]) -> keras.KerasTensor:
        for layer in layers:
            images = layer(images, training=True)
        return images

    return augment


def _batches(
    sets: tuple[LabelledImages, ...], num_steps: int, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    for _ in range(num_steps):
        parts = []
        for data in sets:
            assert data.labels is not None
            rows = random.integers(0, len(data.images), BATCH_SIZE // len(sets))
            parts.append((data.images[rows], data.labels[rows]))
        images, labels = zip(*parts, strict=True)
        yield np.concatenate(images), np.concatenate(labels)
