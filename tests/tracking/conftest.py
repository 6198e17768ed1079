"""Fixtures of the tests of tracking."""

from pathlib import Path

import pytest

from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.tracking.packages import tracking_packages

__all__ = ["tracking_packages"]


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStore:
    """An empty run folder."""
    return open_store(str(tmp_path / "run"))
