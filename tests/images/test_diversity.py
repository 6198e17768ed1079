"""Image diversity: known values, and its fall when a generator collapses."""

import numpy as np
import pytest

from job.images.diversity import diversity


def test_copies_of_one_image_have_none() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    assert diversity(image.repeat(25, axis=0)) == 0.0


def test_black_and_white_have_the_maximum() -> None:
    images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    assert diversity(images) == pytest.approx(np.sqrt(0.5))


def test_it_is_the_mean_standard_deviation_of_a_pixel() -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, 5, 7, 1), np.uint8)
    by_hand = (
        np.mean(
            [np.std(images[:, row, column, 0], ddof=1) for row in range(5) for column in range(7)]
        )
        / 255
    )
    assert diversity(images) == pytest.approx(by_hand)


def test_it_falls_when_images_collapse() -> None:
    random = np.random.default_rng(2)
    varied = random.integers(0, 256, (25, 16, 16, 1), np.uint8)
    collapsed = np.clip(varied[:1] + random.normal(0, 5, varied.shape), 0, 255).astype(np.uint8)
    assert diversity(collapsed) < 0.1 * diversity(varied)


def test_one_image_cannot_be_compared() -> None:
    assert diversity(np.zeros((1, 4, 4, 1), np.uint8)) is None
    assert diversity(np.zeros((3, 4, 4, 1), np.uint8), np.arange(3)) is None


def test_of_classes_it_is_the_mean_within_a_class() -> None:
    random = np.random.default_rng(3)
    first, second = (random.integers(0, 256, (number, 8, 8, 1), np.uint8) for number in (4, 12))
    images = np.concatenate([first, second, np.zeros((1, 8, 8, 1), np.uint8)])
    labels = np.array([5] * 4 + [0] * 12 + [2])
    order = random.permutation(17)
    assert diversity(images[order], labels[order]) == pytest.approx(
        (4 * diversity(first) + 12 * diversity(second)) / 16
    )


def test_classes_of_one_image_each_have_none() -> None:
    """As a conditional generator that has collapsed; without labels the classes would hide it."""
    images = np.repeat(
        np.random.default_rng(4).integers(0, 256, (10, 8, 8, 1), np.uint8), 5, axis=0
    )
    assert diversity(images) > 0.2
    assert diversity(images, np.arange(50) // 5) == 0.0
