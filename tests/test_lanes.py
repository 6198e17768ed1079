"""``python -m tests.lanes``: every test runs in one of the two lanes, and its outcome counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.tools import ROOT

TESTS = """
import pytest

@pytest.mark.cluster
def test_of_the_first_lane(): pass

def test_of_the_second_lane(): pass

def test_wrong(): assert False

@pytest.mark.training
def test_skipped(): pytest.skip("for no reason")

@pytest.fixture
def broken(): raise OSError

def test_error(broken): pass
"""


@pytest.mark.parametrize(
    ("options", "code", "closing"),
    [
        ([], 1, "2 passed, 2 failed, 1 skipped"),
        (["-k", "of_the"], 0, "2 passed, 0 failed, 0 skipped"),
        (["-k", "first"], 0, "1 passed, 0 failed, 0 skipped"),
        (["-k", "error"], 1, "0 passed, 1 failed, 0 skipped"),
        (["-k", "nowhere"], 5, "0 passed, 0 failed, 0 skipped"),
        (["-k", "skipped", "--no-such-option"], 4, "0 passed, 0 failed, 0 skipped"),
    ],
)
def test_both_lanes_count(tmp_path: Path, options: list[str], code: int, closing: str) -> None:
    path = tmp_path / "test_few.py"
    path.write_text(TESTS)
    command = [sys.executable, "-m", "tests.lanes", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", *options, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, closing), done.stdout + done.stderr
