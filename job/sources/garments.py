"""Garment-like silhouettes, drawn by rule: images to train on where there is no network and no data.

Grey 28x28 pictures of ten classes, light on black as in Fashion-MNIST, with varied shapes, folds, weave and patterns. Image ``i`` is a pure
function of (seed, i). Pillow draws the shapes at four times the size; light and cloth are then laid on many images at once.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from job.data.permutation import fold, uniform
from job.sources.garment_shapes import SHAPES, Part

SIZE = 28
_SCALE = 4  # supersampling, for smooth edges
_SHAPE_DRAWS, _CLOTH_DRAWS = 48, 48
_SHAPES, _CLOTH, _WEAVE = 1, 2, 3  # streams of random numbers
_FOLD_GRID = 5
_PATTERNED = (0, 2, 3, 6)  # classes that may be striped


def draw_garments(seed: int, first_index: int, num_images: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images ``[N, 28, 28, 1]`` and classes ``[N]`` of indices ``first_index ...``; the class is ``index % 10``."""
    indices = np.arange(first_index, first_index + num_images)
    labels = (indices % len(SHAPES)).astype(np.int32)
    draws = _draws(seed, _SHAPES, first_index, num_images, _SHAPE_DRAWS)
    flat = np.stack([_draw_shape(int(label), row) for label, row in zip(labels, draws.tolist(), strict=True)])
    return _lay_cloth(flat.astype(np.float32) / np.float32(255), labels, seed, first_index)[..., np.newaxis], labels


def _draw_shape(label: int, draws: list[float]) -> NDArray[np.uint8]:
    """One silhouette ``[28, 28]`` in flat shades."""
    rest = iter(draws)

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(rest)

    tone, angle = between(0.45, 0.95), between(-0.06, 0.06)
    width, height, left, top = between(0.9, 1.04), between(0.93, 1.02), between(-0.7, 0.7), between(-0.5, 0.5)
    affine = np.array([[width, -angle], [angle, height]]) * _SCALE
    offset = np.array([14 + left, 14 + top]) * _SCALE
    image = Image.new("L", (SIZE * _SCALE, SIZE * _SCALE))
    canvas = ImageDraw.Draw(image)
    for part in SHAPES[label](between):
        points = (_outline(part) - 14) @ affine.T + offset
        canvas.polygon(points.ravel().tolist(), fill=min(255, round(255 * tone * part.shade)))
    return np.asarray(image.reduce(_SCALE))


def _outline(part: Part) -> NDArray[np.float64]:
    points = np.array(part.points)
    return _smoothing(len(points)) @ points if part.smooth else points


@lru_cache(maxsize=32)
def _smoothing(num_points: int) -> NDArray[np.float64]:
    """Chaikin's corner cutting (1974), twice, as one matrix ``[4 * num_points, num_points]`` for a closed polygon."""
    smoothing = np.eye(num_points)
    for _ in range(2):
        following = np.roll(smoothing, -1, axis=0)
        smoothing = np.stack([0.8 * smoothing + 0.2 * following, 0.2 * smoothing + 0.8 * following], axis=1).reshape(-1, num_points)
    return smoothing


def _lay_cloth(flat: NDArray[np.float32], labels: NDArray[np.int32], seed: int, first_index: int) -> NDArray[np.uint8]:
    """Folds, light, weave and patterns over flat shades ``[N, 28, 28]`` in 0..1; the background stays black."""
    num_images = len(flat)
    draws = _draws(seed, _CLOTH, first_index, num_images, _CLOTH_DRAWS).astype(np.float32)
    folds = draws[:, : _FOLD_GRID**2].reshape(-1, _FOLD_GRID, _FOLD_GRID) * 2 - 1
    light = 1 + (0.1 + 0.25 * draws[:, 25, None, None]) * (_stretch() @ folds @ _stretch().T)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    light *= 1 + (0.16 * (draws[:, 26] - 0.5))[:, None, None] * (x - 14) / 7

    period, phase = (2.2 + 4 * draws[:, 27])[:, None, None], (6.28 * draws[:, 28])[:, None, None]
    across = np.where(draws[:, 29, None, None] < 0.7, y, x)
    stripes = np.sin(6.2832 * across / period + phase)
    strength = 0.12 + 0.3 * draws[:, 30]
    is_striped = (draws[:, 31] < 0.3) & np.isin(labels, _PATTERNED)
    light *= 1 + np.where(is_striped, strength, 0)[:, None, None] * stripes

    weave = _draws(seed, _WEAVE, first_index, num_images, SIZE * SIZE).astype(np.float32)
    light += (0.02 + 0.07 * draws[:, 32, None, None]) * (weave.reshape(flat.shape) * 2 - 1)
    return np.rint(np.clip(flat * light, 0, 1) * 255).astype(np.uint8)


def _draws(seed: int, stream: int, first_index: int, num_images: int, num_draws: int) -> NDArray[np.float64]:
    """``num_draws`` random numbers of each image: ``[N, num_draws]`` in [0, 1)."""
    return uniform(fold(seed, stream), first_index * num_draws, (first_index + num_images) * num_draws).reshape(num_images, num_draws)


@lru_cache(maxsize=1)
def _stretch() -> NDArray[np.float32]:
    """Linear interpolation of a grid's side to the image's: ``[28, 5]``."""
    places = np.linspace(0, _FOLD_GRID - 1, SIZE)
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(_FOLD_GRID)))
    return weights.astype(np.float32)
