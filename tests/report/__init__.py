"""Tests of the readers of a run folder."""
