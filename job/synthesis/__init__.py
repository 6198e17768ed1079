"""Synthetic images from a checkpoint, in constant memory, each a function of (checkpoint, seed, index)."""
