"""Garments drawn by rule: images to train on without a network and without data.

Grey 28x28 pictures of ten classes, light on black as in Fashion-MNIST, with varied shapes, folds,
weave and stripes. Image ``i`` is a pure function of (seed, i). Pillow draws the shapes at four
times the size; light and cloth are then laid on many images at once.
"""

from collections import Counter
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from job.data.permutation import fold, uniform
from job.sources.source import ImageBlock, Items

SIZE = 28
CLASS_NAMES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
_BLOCK_ROWS = 500
_SCALE = 4  # supersampling, for smooth edges
_JITTER = 1.1  # pixels that each point of an outline moves at most
_SHAPE_DRAWS, _CLOTH_DRAWS = 96, 33
_SHAPES, _CLOTH, _WEAVE = 1, 2, 3  # purposes of random numbers
_FOLD_GRID = 5


class Part(NamedTuple):
    """One polygon of points (x, y), y down.

    For ``both`` (one outline) and ``pair`` (two), x is the distance from the axis.
    """

    points: list[tuple[float, float]]
    sides: Literal["both", "pair", "one"] = "both"
    shade: tuple[float, float] = (1.0, 1.0)  # multiplies the garment's tone; 0 is the background
    chance: float = 1.0


# fmt: off
_BODY = Part([(0, 3.5), (2.4, 2), (6.6, 3.3), (6, 9.5), (6.3, 25), (0, 25.5)])
_LONG_SLEEVES = Part([(4, 2.5), (7.4, 4), (11.3, 22), (8, 23.5), (5.4, 10)], "pair", (0.8, 1.0))
_FRONT = Part([(0.3, 5), (0.3, 25)], shade=(0.2, 0.7))
_GROUND, _DARK, _ANY = (0.0, 0.0), (0.45, 0.8), (0.4, 1.4)
_GARMENTS: tuple[list[Part], ...] = (
    [Part([(4, 2.5), (7.4, 4), (12.2, 10.5), (8.4, 12.5), (5.4, 9.5)], "pair", (0.8, 1.0)), _BODY],
    [Part([(4.3, 1.5), (5.4, 8), (5.6, 26.5), (2.3, 26.5), (0.4, 10)]),
     Part([(4.3, 1.5), (4.4, 2.9)], shade=(0.6, 1.15))],
    [_LONG_SLEEVES, _BODY, Part([(6, 23.8), (6.3, 25.4)], shade=(0.65, 0.95), chance=0.4)],
    [Part([(3, 2), (5.5, 3), (6.2, 10), (3.2, 6.5)], "pair", (0.75, 0.95), 0.5),
     Part([(0, 3.6), (1.8, 1.5), (4.1, 2.2), (4.1, 6), (3.2, 11.5), (6.2, 26.5), (0, 26.8)]),
     Part([(3.2, 10.9), (3.2, 12.2)], shade=(0.5, 0.75), chance=0.4)],
    [_LONG_SLEEVES, Part([*_BODY.points[:4], (7, 26.2), (0, 26.5)]), _FRONT,
     Part([(0, 3), (2.4, 2.6), (2.8, 6), (0.3, 12)], "pair", (0.6, 0.8))],
    [Part([(4.5, 21.5), (6, 19), (11, 17.5), (15.5, 15), (18, 10.5), (25.2, 10), (25.6, 18), (17,
          21)], "one", (0.75, 1)),
     Part([(8.5, 23), (10, 8), (13.5, 8), (12, 23)], "one", _GROUND),
     Part([(14.5, 23), (16, 8), (18.5, 8), (17.5, 23)], "one", _GROUND, 0.6),
     Part([(18.5, 12), (24, 12), (23.8, 17.4), (18, 18)], "one", _GROUND),
     Part([(25.9, 18), (25.9, 24), (23.5, 24), (21.5, 19)], "one", (0.7, 1)),
     Part([(1.6, 21.6), (9, 21.5), (17, 20), (25.8, 17.7), (26, 19.5), (17.5, 22.5), (9, 23.5),
          (2, 23.5)], "one")],
    [_LONG_SLEEVES, _BODY, _FRONT, Part([(0.2, 4.8), (2.3, 4.5), (2.4, 1.8), (1.2, 1.6)], "pair",
          (1.2, 1.2)),
     *(Part([(0.4, y), (0.4, y + 0.8)], shade=_ANY) for y in (8, 12, 16, 20))],
    [Part([(26.2, 10.5), (26.6, 19), (1.8, 19), (1.6, 16.4), (4.5, 14.8), (10, 13.2), (15.2,
          11.3), (17, 9.8), (20.5, 11.8), (24.5, 10)],
          "one", (0.6, 1)),
     Part([(26.8, 18.8), (26.6, 21), (1.9, 21), (1.4, 19), (10, 19.4)], "one", (0.9, 1.35)),
     Part([(16.5, 19), (16.5, 14), (19, 14), (19.5, 19)], "one", _ANY, 0.6),
     *(Part([(x, 14.6 - x / 6), (x + 1.6, 15.8 - x / 6), (x + 1, 16.5 - x / 6)], "one",
          _ANY) for x in (8.6, 10.8, 13))],
    [Part([(5.5, 12), (5.5, 4.5), (3.4, 3), (0, 2.6)], shade=(0.7, 1)),
     Part([(4.3, 12), (4.3, 5.6), (2.8, 4.2), (0, 3.8)], shade=_GROUND),
     Part([(9.8, 11), (10.7, 12), (11, 23.8), (10, 24.8)]),
     Part([(10, 11.2), (10.6, 12), (10.2, 15), (5.3, 16.5)], shade=(0.6, 0.88), chance=0.6),
     Part([(0.9, 15), (0.9, 17)], shade=_ANY, chance=0.6)],
    [Part([(14.5, 3.5), (24.8, 3.5), (25.4, 12), (25.2, 24.2), (2.2, 24.2), (1.9, 22), (5, 19.5),
          (10.5, 18), (13.8, 16)], "one"),
     Part([(25.5, 24), (25.3, 25.7), (20.5, 25.7), (19.7, 24.7), (12, 25.4), (2.6, 25.4), (1.9,
          24)], "one", (0.4, 1.2)),
     Part([(14.4, 3.9), (24.8, 3.9), (24.9, 5.8), (14.4, 5.8)], "one", (0.6, 1.25), 0.6),
     Part([(19, 6.2), (20.8, 6.2), (21.4, 17), (18.6, 17)], "one", _DARK, 0.45)],
)
# fmt: on


class GarmentSource:
    """``synthetic:garments[:N]``: ``num_images`` garments of one seed, in ten classes."""

    kind = "synthetic"
    num_bytes = None
    signature = None
    class_names = CLASS_NAMES

    def __init__(self, num_images: int, seed: int) -> None:
        self.uri = f"synthetic:garments:{num_images}"
        self.num_images = num_images
        self.ignored: Counter[str] = Counter()
        self._seed = seed

    def items(self) -> Items:
        for start in range(0, self.num_images, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, self.num_images - start)
            yield ImageBlock(*draw_garments(self._seed, start, count))


def draw_garments(
    seed: int, first_index: int, num_images: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return images ``[N, 28, 28, 1]`` and classes ``[N]``, from ``first_index`` on.

    The class is ``index % 10``.
    """
    labels = (np.arange(first_index, first_index + num_images) % len(CLASS_NAMES)).astype(np.int32)
    draws = _draws(seed, _SHAPES, first_index, num_images, _SHAPE_DRAWS)
    shapes = [_draw_shape(_GARMENTS[label], row) for label, row in zip(labels, draws, strict=True)]
    flat = np.stack(shapes).astype(np.float32) / np.float32(255)
    return _lay_cloth(flat, seed, first_index)[..., np.newaxis], labels


def _draw_shape(parts: list[Part], draws: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return one silhouette ``[28, 28]`` in flat shades."""
    tone, lean = 0.45 + 0.5 * draws[0], 0.12 * draws[1] - 0.06
    wide, high = 0.88 + 0.14 * draws[2], 0.9 + 0.1 * draws[3]
    affine = np.array([[wide, -lean], [lean, high]]) * _SCALE
    used = 4
    image = Image.new("L", (SIZE * _SCALE, SIZE * _SCALE))
    canvas = ImageDraw.Draw(image)
    for part in parts:
        points = np.array(part.points)
        low, high_shade = part.shade
        is_drawn, shade = draws[used] < part.chance, low + (high_shade - low) * draws[used + 1]
        jitter = 2 * np.resize(draws[used + 2 :], points.shape) - 1
        points = points + _JITTER * jitter * (points > 1)
        used += 2 + len(points)
        left, right = points * (-1, 1), points
        outlines = {
            "both": [np.concatenate([right, left[::-1]])],
            "pair": [left, right],
            "one": [points - (14, 0)],
        }[part.sides]
        for outline in outlines if is_drawn else []:
            corners = (outline - (0, 14)) @ affine.T + 14 * _SCALE
            canvas.polygon(corners.ravel().tolist(), fill=min(255, round(255 * tone * shade)))
    return np.asarray(image.reduce(_SCALE))


def _lay_cloth(flat: NDArray[np.float32], seed: int, first_index: int) -> NDArray[np.uint8]:
    """Lay folds, light, weave and stripes over flat shades ``[N, 28, 28]`` in 0..1.

    The background stays black.
    """
    draws = _draws(seed, _CLOTH, first_index, len(flat), _CLOTH_DRAWS).astype(np.float32)
    draws = draws[:, :, None, None]
    folds = draws[:, : _FOLD_GRID**2].reshape(-1, _FOLD_GRID, _FOLD_GRID) * 2 - 1
    light = 1 + (0.1 + 0.25 * draws[:, 25]) * (_stretch() @ folds @ _stretch().T)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    light *= 1 + 0.16 * (draws[:, 26] - 0.5) * (x - 14) / 7
    across = np.where(draws[:, 29] < 0.7, y, x)
    stripes = np.sin(6.2832 * across / (2.2 + 4 * draws[:, 27]) + 6.28 * draws[:, 28])
    light *= 1 + np.where(draws[:, 31] < 0.15, 0.12 + 0.3 * draws[:, 30], 0) * stripes
    weave = _draws(seed, _WEAVE, first_index, len(flat), SIZE * SIZE).astype(np.float32)
    light += (0.02 + 0.07 * draws[:, 32]) * (weave.reshape(flat.shape) * 2 - 1)
    return np.rint(np.clip(flat * light, 0, 1) * 255).astype(np.uint8)


def _draws(
    seed: int, purpose: int, first_index: int, num_images: int, num_draws: int
) -> NDArray[np.float64]:
    """Return ``num_draws`` random numbers of each image: ``[N, num_draws]`` in [0, 1)."""
    start, stop = first_index * num_draws, (first_index + num_images) * num_draws
    return uniform(fold(seed, purpose), start, stop).reshape(num_images, num_draws)


@lru_cache(maxsize=1)
def _stretch() -> NDArray[np.float32]:
    """Return linear interpolation of a grid's side to the image's: ``[28, 5]``."""
    places = np.linspace(0, _FOLD_GRID - 1, SIZE)[:, None]
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(places - np.arange(_FOLD_GRID)))
    return weights.astype(np.float32)
