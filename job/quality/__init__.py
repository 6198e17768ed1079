"""Scores: how close generated images are to real ones, as numbers with their uncertainty."""
