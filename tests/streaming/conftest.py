"""Packed data sets for the tests of streaming."""

from pathlib import Path

import pytest

from job.data.index import Index, read_index
from job.storage.local import LocalStore
from tests.streaming.sets import RemoteStore, pack_numbered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 1,000 images in ten shards."""
    pack_numbered(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def index(folder: Path) -> Index:
    return read_index(LocalStore(folder))


@pytest.fixture
def store(tmp_path: Path) -> RemoteStore:
    """3,000 images in 150 shards: an epoch is 250 steps of 12 streams of 20 steps a shard."""
    pack_numbered(tmp_path / "set", 3000, 20)
    return RemoteStore(tmp_path / "set")
