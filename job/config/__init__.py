"""The configuration of a run.

Typed, documented field by field, checked before any process starts.
"""
