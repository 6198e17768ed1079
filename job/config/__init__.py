"""The configuration of a run: typed, documented field by field, checked before any process starts."""
