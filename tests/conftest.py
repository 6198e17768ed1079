"""Fixtures that several folders of tests use, and the distribution of tests."""

import functools
import logging
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.servers import s3
from tests.servers.ports import free_port as find_free_port

pytest_plugins = ("tests.launch.fixtures",)

_ROOT = Path(__file__).parents[1]
_SLOWEST = ("cluster", "training", "prometheus")
# Files that one process runs. Two of them start Ray: more at a time would be too slow on two cores.
_GROUPS = {
    "tests/api/test_run.py": "other Ray",
    "tests/launch/test_failing.py": "finished run",
    "tests/launch/test_life.py": "finished run",
    "tests/report/test_real_run.py": "finished run",
    "tests/launch/test_demo.py": "other Ray",
    "tests/launch/test_ray_job.py": "other Ray",
    "tests/release/test_installed.py": "other Ray",
}
_ALL_TRAINING = re.compile(r"^pytestmark = .*pytest\.mark\.training", re.MULTILINE)
_SHARED = ("tests/charts", "tests/manifests")  # their folder's fixtures cost more than their tests


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute files, not tests, over the processes of ``pytest -n``."""
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):
    """Not ``xdist_group``: pytest 9.2 ignores what pytest-xdist 3.8 appends to a test's name."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return _GROUPS.get(file, folder if folder in _SHARED else file)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m "not training"``, leave out files of that mark: their imports take seconds."""
    if collection_path.suffix == ".py" and "not training" in config.getoption("markexpr"):
        return bool(_ALL_TRAINING.search(collection_path.read_text())) or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes minutes, unless it was asked for, and begin with the slowest tests."""
    for item in items:
        if _is(item, "live") and os.environ.get("DCGAN_E2E") != "1":
            item.add_marker(pytest.mark.skip("takes minutes: set DCGAN_E2E=1, or run `make e2e`"))
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


@pytest.fixture(autouse=True)
def unconfigured_log() -> None:
    """Undo what a command that another test ran in this process did to the log."""
    logger = logging.getLogger("dcgan")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


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
    s3_server.enter(monkeypatch)
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
