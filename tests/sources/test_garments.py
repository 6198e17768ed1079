"""Drawn garments: always the same, of ten kinds that differ, no two alike, and drawn quickly."""

import hashlib
import time

import numpy as np
import pytest

from job.sources.garments import CLASS_NAMES, draw_garments
from job.sources.open_source import open_source
from tests.sources.reading import arrays_of


def test_an_image_depends_on_seed_and_index_alone() -> None:
    images, labels = draw_garments(3, 0, 60)
    later, later_labels = draw_garments(3, 37, 23)
    assert np.array_equal(images[37:], later)
    assert np.array_equal(labels[37:], later_labels)
    assert (images.shape, images.dtype) == ((60, 28, 28, 1), np.uint8)
    other, _ = draw_garments(4, 0, 60)
    assert min(np.abs(images.astype(int) - other).mean(axis=(1, 2, 3))) > 1


def test_no_two_are_alike_and_none_is_empty_or_full() -> None:
    images, labels = draw_garments(0, 0, 1000)
    assert len({hashlib.sha256(image.tobytes()).digest() for image in images}) == 1000
    covered = (images > 20).mean(axis=(1, 2, 3))
    assert covered.min() > 0.05
    assert covered.max() < 0.85
    assert images[:, 0, 0].max() == images[:, 27, 0].max() == 0  # corners are background
    assert np.bincount(labels).tolist() == [100] * len(CLASS_NAMES)


@pytest.mark.slow
def test_the_classes_differ_enough_to_learn() -> None:
    """Most images are nearer to the average silhouette of their class than to the others."""
    images, labels = draw_garments(0, 0, 2000)
    silhouettes = (images[..., 0] > 20).reshape(2000, -1).astype(float)
    means = np.stack(
        [silhouettes[:1000][labels[:1000] == label].mean(axis=0) for label in range(10)]
    )
    nearest = ((silhouettes[1000:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    correct = np.array([(nearest[labels[1000:] == label] == label).mean() for label in range(10)])
    assert correct.mean() > 0.7
    assert (
        correct[[1, 5, 7, 8, 9]].min() > 0.85
    )  # trousers, sandals, sneakers, bags and boots look like nothing else


@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_every_seed_draws(seed: int) -> None:
    assert draw_garments(seed, 10**6, 200)[0].shape == (200, 28, 28, 1)


@pytest.mark.slow
def test_two_thousand_a_second() -> None:
    draw_garments(0, 0, 10)
    start = time.thread_time()  # of this thread alone: the machine may be busy
    draw_garments(0, 0, 2000)
    assert 2000 / (time.thread_time() - start) > 2000


def test_garments_are_counted_and_labelled() -> None:
    source = open_source("synthetic:garments:1203", seed=4)
    images, labels = arrays_of(source)
    assert images.shape == (1203, 28, 28, 1)
    assert labels is not None
    assert source.class_names is not None
    assert source.class_names[labels[1202]] == "pullover"
