"""files/stop.py, the head pod's preStop hook, in its own process namespace as in a container."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.charts.helm import CHART

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def can_unshare() -> bool:
    """Root in a container may not."""
    return (
        bool(shutil.which("unshare"))
        and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not can_unshare(), reason="process namespaces need root with its rights, and `unshare`"
)

# Started as Ray does: a script under a shell. Needs time to save, and counts its signals.
DRIVER = """#!{python}
import pathlib, signal, sys, time
def stop(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep({seconds})
    pathlib.Path("saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(60)
"""
# What happens in the namespace, in the driver's folder.
INSIDE = """
import json, pathlib, subprocess, sys, time
hook, seconds, *driver = sys.argv[1:]
shell = subprocess.Popen(driver[0] + "; exit $?", shell=True) if driver else None
while driver and not pathlib.Path("ready").exists():
    time.sleep(0.02)
begun = time.monotonic()
subprocess.run([sys.executable, hook, seconds], check=True)
took = time.monotonic() - begun
is_saved = pathlib.Path("saved").exists()
print(json.dumps([took, is_saved, shell.wait(5) if is_saved else None]))
"""


class Outcome(NamedTuple):
    seconds: float
    is_saved: bool
    status: int | None  # of the shell around the driver; None while it runs


def stop(
    folder: Path, seconds: float, *, command: str = "", saving_seconds: float = 0.0
) -> Outcome:
    """Run the hook for ``seconds``, on a driver (if ``command``) that saves ``saving_seconds``."""
    script = folder / "dcgan-train"
    script.write_text(DRIVER.format(python=sys.executable, seconds=saving_seconds))
    script.chmod(0o755)
    driver = [f"{script} {command}"] if command else []
    # The namespace ends with its first process, and everything in it with that.
    inside = [sys.executable, "-c", INSIDE, str(CHART / "files" / "stop.py"), str(seconds), *driver]
    done = subprocess.run(
        [*UNSHARE, *inside], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return Outcome(*json.loads(done.stdout))


@pytest.mark.slow
def test_waits_for_the_last_checkpoint(tmp_path: Path) -> None:
    outcome = stop(tmp_path, 30, command="train --config run.yaml", saving_seconds=1.0)
    assert outcome.is_saved
    assert outcome.status == 143  # which KubeRay takes for a failure, and starts again
    assert 1.0 <= outcome.seconds < 15


@pytest.mark.slow
def test_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    outcome = stop(tmp_path, 1, command="train --config run.yaml", saving_seconds=40.0)
    assert not outcome.is_saved
    assert 1.0 <= outcome.seconds < 5


def test_ends_at_once_where_nothing_trains(tmp_path: Path) -> None:
    assert stop(tmp_path, 30).seconds < 5
