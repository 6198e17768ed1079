"""Packed data sets: their index, their shards, and the order of samples. Knows no tensor."""
