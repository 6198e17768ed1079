"""Scores: how close generated images are to real ones, as numbers with their uncertainty."""

from typing import NamedTuple

DEFAULT_NUM, MIN_NUM = 10_000, 20  # images of each kind that an evaluation compares


class Usefulness(NamedTuple):
    """Train classifiers on real and on generated images: ``repeats`` of ``steps`` steps of 128.

    ``per_class`` real images of each class are what someone with few images has; a generator makes
    ``num_generated``. Of images that exist, at most as many are taken.
    """

    per_class: int = 300
    steps: int = 1000
    repeats: int = 3
    num_generated: int = 20_000
