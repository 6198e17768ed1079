"""Fixtures that several folders of tests use, and the distribution of tests."""

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
_SLOWEST = ("cluster", "training", "prometheus")
_OF_FINISHED_RUN = (
    "tests/launch/test_failing.py",
    "tests/launch/test_killed.py",
    "tests/launch/test_on_s3.py",
    "tests/report/test_real_run.py",
)
_SHARED = ("tests/charts", "tests/manifests")  # their folder's fixtures cost more than their tests


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute files, not tests, over the processes of ``pytest -n``; begin with the slow ones.

    What starts Ray is two groups: one shares a finished run, and more Rays at a time than that
    would start too slowly on two cores.
    """
    for item in items:
        if _is(item, "live") and os.environ.get("DCGAN_E2E") != "1":
            item.add_marker(pytest.mark.skip("takes minutes: set DCGAN_E2E=1, or run `make e2e`"))
        file = item.nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        group = folder if folder in _SHARED else file
        if _is(item, "cluster"):
            group = "finished run" if file in _OF_FINISHED_RUN else "other Ray"
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_speed)


def _speed(item: pytest.Item) -> int:
    """Return 0 for the slowest tests, which begin."""
    return next((rank for rank, marker in enumerate(_SLOWEST) if _is(item, marker)), len(_SLOWEST))


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
    """Parse botocore's JSON models once a session: three quarters of the cost of a client."""
    load = functools.cache(botocore.loaders.JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.loaders.JSONFileLoader, "load_file", lambda self, path: load(path))
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.S3Server]:
    """One real S3 server a session; each test creates a bucket (``s3_server.new_bucket()``)."""
    with s3.s3_server() as server:
        yield server


@pytest.fixture
def s3_env(s3_server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> s3.S3Server:
    """Set this process's AWS variables to those of the server, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing listens on."""
    return find_free_port()


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """Real data sets beside the checkout, or None."""
    folder = _ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None
