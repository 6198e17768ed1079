"""Fixtures: run folders on disk and on S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.servers.s3 import S3Server


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def any_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """A folder, and a real S3 server."""
    if request.param == "folder":
        yield open_store(str(tmp_path / "run"))
        return
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    yield open_store(f"s3://{server.new_bucket('uploader')}/run")
