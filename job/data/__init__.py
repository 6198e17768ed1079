"""Packed data sets: their index, shards and reader, and the order of samples. Knows no tensor."""
