"""Processes that begin with TensorFlow loaded: forked from a server, in a fifth of a second.

process = forked("tests.streaming.worker", ["0", "1"], env, log)
process.wait(60)

TensorFlow (2.21) starts no thread while it is imported, so it can be forked then. Children share
the server's hash seed and addresses; a test of independence from them needs a new process.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.servers.loaded"])


class Forked:
    """A child, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process
        self.pid = process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise ``TimeoutExpired`` after ``timeout`` seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)


def forked(module: str, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Forked:
    """Start ``python -m module arguments`` in its own session; both outputs go to ``log``."""
    log.touch()
    process = _CONTEXT.Process(
        target=_run, args=(module, list(arguments), dict(env), str(log)), name=module, daemon=True
    )
    process.start()
    return Forked(process)


def _run(module: str, arguments: list[str], env: dict[str, str], log: str) -> None:
    from tests.servers.process import die_with_parent

    os.setsid()
    die_with_parent()
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 1)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()
