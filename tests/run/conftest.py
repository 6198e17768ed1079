"""Run folders that tests of records write into."""

from pathlib import Path

import pytest

from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.servers.s3 import S3Server


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty one, on disk and on a real S3 server."""
    if request.param == "file":
        return open_store(str(tmp_path / "run"))
    server: S3Server = request.getfixturevalue("s3_env")
    return open_store(f"s3://{server.new_bucket()}/run")


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStore:
    """An empty one on disk, for tests that do not depend on the store."""
    return open_store(str(tmp_path / "run"))
