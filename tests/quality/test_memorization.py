"""Distances to the training images: exact, and different for copies and for new images."""

from pathlib import Path

import numpy as np
import pytest

from job.data import rows as rows_module
from job.data.rows import read_rows
from job.quality import neighbours
from job.quality.memorization import memorization, near_training, nearest, pixels
from tests.quality.pictures import bars, packed_bars


def test_nearest_is_the_definition_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_ROWS_AT_ONCE", 7)
    random = np.random.default_rng(0)
    queries, training = random.normal(size=(40, 5)), random.normal(size=(60, 5))
    distances = np.linalg.norm(queries[:, None] - training[None], axis=2)
    found = nearest(queries, [training[:25], training[:0], training[25:]])
    assert np.array_equal(found.rows, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="0 training rows"):
        nearest(queries, [])


def test_shares_are_those_of_pairs_and_of_the_rarest() -> None:
    random = np.random.default_rng(0)
    generated, held_out = random.integers(0, 50, 300), random.integers(5, 55, 400)
    found = memorization(generated, held_out)
    pairs = held_out[None] - generated[:, None]
    assert found.share_nearer == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert found.share_rare == (generated < np.quantile(held_out, 0.01)).mean() > 0.05
    assert (found.median_generated, found.median_held_out) == (
        np.median(generated),
        np.median(held_out),
    )


def test_copies_are_near_and_new_images_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 50 * 256)
    store, index = packed_bars(tmp_path / "real", 180)
    held_out, new = bars(100, seed=1)[0], bars(100, seed=2)[0]
    honest, _, _ = near_training(store, index, pixels, new, held_out)
    assert 0.4 < honest.share_nearer < 0.6
    assert honest.share_rare < 0.05
    assert 20 < honest.median_held_out < 60  # grey levels of noise
    copies = read_rows(store, index, np.arange(60, 90)).images
    copied, found, _ = near_training(store, index, pixels, np.concatenate([new, copies]), held_out)
    assert np.array_equal(found.rows[100:], np.arange(60, 90))
    assert not found.distances[100:].any()
    assert copied.share_rare >= 30 / 130
    assert copied.share_nearer > honest.share_nearer


def test_a_pixel_distance_is_a_difference_in_grey_levels() -> None:
    black, grey = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 30, np.uint8)
    assert nearest(pixels(black), [pixels(grey)]).distances[0] == pytest.approx(30.0)
