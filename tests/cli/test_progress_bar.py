"""The progress bar: drawn on a terminal, silent elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from job.cli.progress_bar import progress_bar

SCRIPT = """
from job.cli.progress_bar import progress_bar
with progress_bar() as advance:
    advance("Making", 1234, 5000)
"""


def test_it_is_drawn_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stderr=theirs,
        check=True,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while b"1,234" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)
    assert b"Making" in shown


def test_it_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as advance:
        advance("Making", 1234, 5000)
    assert capsys.readouterr().err == ""
