"""Fixtures that more than one folder of tests uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import s3
from tests.servers.ports import free_port as find_free_port

pytest_plugins = ("tests.launch.fixtures",)

_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.S3Server]:
    """One real S3 server for the whole run; each test takes a bucket of its own (``s3_server.new_bucket()``)."""
    with s3.s3_server() as server:
        yield server


@pytest.fixture
def s3_env(s3_server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> s3.S3Server:
    """This process's AWS variables are those of the server, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing listens on now."""
    return find_free_port()


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """Real data sets kept beside the checkout, or None where there are none."""
    folder = _ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None
