"""Classifiers trained on generated images: as good as those are, and the same again."""

import numpy as np
import pytest

from job.config.errors import DataError
from job.data.rows import LabelledImages
from job.quality.usefulness import (
    Recipe,
    Schedule,
    Trainer,
    augmentation,
    first_of_each_class,
    recipes,
    with_classes,
)
from tests.quality.pictures import bars

NAMES = ("top", "left", "middle")


def labelled(num_images: int, seed: int = 0) -> LabelledImages:
    images, labels = bars(num_images, seed)
    return LabelledImages(images, labels.astype(np.int32), NAMES)


@pytest.mark.training
def test_good_images_teach_and_wrong_labels_do_not() -> None:
    test, good = labelled(300, seed=1), labelled(300)
    schedule = Schedule(10, 25, range(1))
    trainer = Trainer(test, schedule)
    found = trainer.accuracies(Recipe("good", (good,)))
    assert min(found) > 0.8
    assert Trainer(test, schedule).accuracies(Recipe("good", (good,))) == found
    assert good.labels is not None
    wrong = good._replace(labels=(good.labels + 1) % 3)
    assert max(trainer.accuracies(Recipe("wrong", (wrong,)))) < 0.2
    assert trainer.accuracies(Recipe("good", (good,))) == found  # not changed by one in between
    half = Trainer(test, Schedule(10, 25, range(1, 3))).accuracies(Recipe("both", (good, wrong)))
    assert len(half) == 2
    assert max(half) < min(found)


@pytest.mark.training
def test_augmentation_moves_images_by_its_seed_and_keeps_their_class() -> None:
    images = np.linspace(-1, 1, 2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16, 1)
    augment = augmentation(3)
    first, second = np.asarray(augment(images)), np.asarray(augment(images))
    assert first.shape == images.shape
    assert not np.allclose(first, images)
    assert not np.allclose(first, second)
    assert np.array_equal(np.asarray(augmentation(3)(images)), first)
    few = first_of_each_class(labelled(200), 20)
    trainer = Trainer(labelled(200, 1), Schedule(20, 25, range(1)))
    found = trainer.accuracies(Recipe("few", (few,), True))
    assert found[0] > 0.6


def test_the_few_are_the_first_of_each_class() -> None:
    data = labelled(100)
    few = first_of_each_class(data, 5)
    assert few.labels is not None
    assert few.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    expected = np.concatenate([data.images[data.labels == label][:5] for label in range(3)])
    assert np.array_equal(few.images, expected)
    with pytest.raises(
        DataError, match=r"class \w+ has \d+ real images; expected at least 90 of each"
    ):
        first_of_each_class(data, 90)


def test_recipes_are_named_and_need_every_class() -> None:
    real, generated = labelled(100), labelled(60, 1)
    found = {recipe.name: recipe for recipe in recipes(real, generated, 5)}
    assert list(found) == [
        "all real",
        "generated only",
        "5 real a class",
        "5 real a class, augmented",
        "5 real a class + generated",
        "5 real a class + generated, augmented",
    ]
    assert [len(each.images) for each in found["5 real a class + generated"].sets] == [15, 60]
    assert [recipe.is_augmented for recipe in found.values()] == [0, 0, 0, 1, 0, 1]
    assert generated.labels is not None
    rows = generated.labels != 1
    with pytest.raises(DataError, match="class left has 0 generated images; expected at least 1"):
        recipes(real, LabelledImages(generated.images[rows], generated.labels[rows], NAMES), 5)


def test_classes_are_matched_by_name() -> None:
    data = labelled(30)
    assert data.labels is not None
    data.labels[0] = -1
    numbers = np.array([2, 0, 1], np.int32)[data.labels]
    mixed = LabelledImages(
        data.images, np.where(data.labels < 0, -1, numbers), ("left", "middle", "top")
    )
    found = with_classes(mixed, NAMES, "images")
    assert np.array_equal(found.labels, data.labels[1:])
    assert np.array_equal(found.images, data.images[1:])
    with pytest.raises(DataError, match="images: the images have no classes; expected a folder"):
        with_classes(LabelledImages(data.images, None, ()), NAMES, "images")
    with pytest.raises(DataError, match="images: has class owl; expected those of the real images"):
        with_classes(data._replace(class_names=("top", "left", "owl")), NAMES, "images")
