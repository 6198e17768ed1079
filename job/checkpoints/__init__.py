"""Checkpoints on an object store: parts and manifest, what is restored, what is kept, who may write. Knows bytes and arrays, no tensor."""
