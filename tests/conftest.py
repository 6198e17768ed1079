"""Fixtures that more than one folder of tests uses, and the order in which tests are distributed."""

import functools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import botocore.loaders
import pytest

from tests.servers import s3
from tests.servers.ports import free_port as find_free_port

pytest_plugins = ("tests.launch.fixtures",)

_ROOT = Path(__file__).parents[1]
_SHARED = ("tests/charts", "tests/manifests")  # their folder's fixtures cost more than their tests


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute files, not tests, over the processes of ``pytest -n``; begin with the slow ones.

    What starts Ray is one group: two Rays at a time would compete for both cores, and these tests
    share a finished run.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        group = "ray" if _is(item, "cluster") else folder if folder in _SHARED else file
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (not _is(item, "cluster"), not _is(item, "training")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is not Unicode in a test's output: the pipe of ``pytest -n`` cannot carry it."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def _is(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None


@pytest.fixture(scope="session", autouse=True)
def botocore_models() -> Iterator[None]:
    """Parse each of botocore's JSON models once a session: three quarters of what a client costs."""
    load = functools.cache(botocore.loaders.JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders.JSONFileLoader, "load_file", lambda self, path: load(path))
        yield


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
