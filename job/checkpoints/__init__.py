"""Checkpoints on an object store: manifest, parts, saves, retention. Knows bytes, no tensor."""
