"""Tests of job/checkpoints."""
