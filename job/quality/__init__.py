"""Scores: how close generated images are to real ones, as numbers with their uncertainty."""

DEFAULT_NUM, MIN_NUM = 10_000, 20  # images of each kind that an evaluation compares
