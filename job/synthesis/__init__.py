"""Synthetic images from a checkpoint: each a function of (checkpoint, seed, index)."""
