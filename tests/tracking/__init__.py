"""Tests of tracking services."""
