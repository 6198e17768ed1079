"""Shards to pixels: cache, downloads, fetch-ahead and reader. Knows no tensor."""
