"""Server processes: each starts in its own process group and is ended with all its children."""

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


@contextmanager
def server_process(
    command: Sequence[str | Path],
    answers: Callable[[], bool],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    ready_seconds: float = 30.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends; enter once it answers.

    Raise ``RuntimeError`` with the end of its log if it exits early or does not answer in time.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=None if env is None else dict(env),
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    atexit.register(end_group, process)
    try:
        deadline = time.monotonic() + ready_seconds
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                state = (
                    f"ended with {process.returncode}"
                    if process.poll() is not None
                    else f"did not answer in {ready_seconds} s"
                )
                raise RuntimeError(
                    f"{command[0]} {state}:\n{log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.05)
        yield process
    finally:
        end_group(process)
        atexit.unregister(end_group)


def end_group(process: subprocess.Popen[bytes], patience_seconds: float = 5.0) -> None:
    """Send SIGTERM to the group, then SIGKILL to what is left of it."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)


def die_with_parent() -> None:
    """Get SIGTERM when pytest ends: after pytest-timeout's ``os._exit`` no fixture cleans up."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
