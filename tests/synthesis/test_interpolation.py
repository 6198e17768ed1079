"""Images between images: on the arc between two latents, from one index to the next."""

import numpy as np
import pytest

from job.gan.generator import build_generator
from job.synthesis.classes import ClassPlan
from job.synthesis.images import image_blocks
from job.synthesis.interpolation import interpolated_blocks, spherical
from tests.synthesis.runs import spec_of, whole

pytestmark = pytest.mark.training


def test_the_arc_keeps_the_length_and_steps_by_equal_angles() -> None:
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 100)).astype(np.float32)
    second *= np.linalg.norm(first) / np.linalg.norm(second)
    points = spherical(first, second, np.linspace(0, 1, 9))
    assert np.allclose(points[0], first, atol=1e-6)
    assert np.allclose(points[-1], second, atol=1e-6)
    assert np.allclose(np.linalg.norm(points, axis=1), np.linalg.norm(first), rtol=1e-5)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    angles = np.arccos(np.sum(unit[1:] * unit[:-1], axis=1))
    assert np.allclose(angles, angles[0], atol=1e-3)


def test_parallel_latents_are_joined_by_a_line() -> None:
    latent = np.ones(4, np.float32)
    points = spherical(latent, 3 * latent, np.array([0, 0.5, 1]))
    assert np.allclose(points, np.array([[1], [2], [3]]) * latent)


@pytest.mark.parametrize("is_loop", [True, False])
def test_it_passes_through_the_images_of_the_indices(generator, is_loop: bool) -> None:
    """Within one grey: the images of an index are made 64 at a time, these are not."""
    rows = list(interpolated_blocks(generator, 3, 4, 60, 5, is_loop=is_loop))
    images = whole(generator, 3, 4, 60).astype(int)
    assert len(rows) == (4 if is_loop else 3)
    for number, row in enumerate(rows):
        assert len(row) == (6 if is_loop else 7)
        assert np.abs(row[0] - images[number]).max() <= 1
        if not is_loop:
            assert np.abs(row[-1] - images[number + 1]).max() <= 1


def test_the_class_changes_as_smoothly_as_the_latents() -> None:
    generator = build_generator(spec_of("fashion").model, 0, num_classes=3)
    plan = ClassPlan(("bag", "shirt", "shoe"), (1, 1, 1), turn=(0, 2))
    (row,) = interpolated_blocks(generator, 0, 2, 0, 63, is_loop=False, classes=plan)
    (images,) = image_blocks(generator, 0, 2, classes=plan)
    images = images.astype(int)
    assert np.abs(row[0] - images[0]).max() <= 1
    assert np.abs(row[-1] - images[1]).max() <= 1
    steps = np.abs(np.diff(row.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert 0 < steps.max() < 4 * np.median(steps)  # a jump would be one large step


def test_truncation_moves_the_images_that_it_passes_through(generator) -> None:
    full = next(interpolated_blocks(generator, 0, 2, 0, 1, is_loop=False))
    cut = next(interpolated_blocks(generator, 0, 2, 0, 1, is_loop=False, truncation=0.5))
    assert not np.array_equal(full, cut)
