"""Run folders that tests of the report read."""

from tests.run.conftest import folder, store

__all__ = ["folder", "store"]
