"""The program as a user starts it: ``python -m job`` in a new session, watched from outside.

It is ended with all it started.

with started(["train", "--config", "run.yaml"], log, environment(ray_folder)) as program:
    program.wait_for_text("metrics of worker 0")
    program.send(signal.SIGTERM)
    assert program.exit_code() == 143
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.checkpoints.checkpoints import Checkpoints
from job.sources.keras_datasets import DEBIAN_FASHION
from job.storage.uri import open_store
from tests.servers.forked import Forked, forked
from tests.servers.process import server_process
from tests.servers.prometheus import wait_for

# A run with these takes most of its time to start: about 50 steps a second on two cores.
SMALL = {
    "model.generator.filters": "[16,8]",
    "model.generator.latent_size": "16",
    "model.discriminator.filters": "[8,16]",
    "training.global_batch_size": "16",
    "metrics.port": "0",
    "metrics.linger_seconds": "0",
}
# Of Ray and of TensorFlow in two workers, on a machine that is busy with other tests.
START_SECONDS = 400.0
LEAVE_SECONDS = 30.0
# They compute nothing. If a driver gets SIGKILL they search for its dead cluster for 60 s and then
# leave (62 s measured).
RAY_AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")


class Process(NamedTuple):
    """A process that runs, so not one that has ended and waits for its parent to notice."""

    pid: int
    parent: int
    session: int
    name: str


def environment(ray_folder: Path, **more: str) -> dict[str, str]:
    """Return this process's variables without those of AWS and Ray.

    Temporary files and Ray's go to ``ray_folder``.
    """
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))
    }
    kept |= {"TMPDIR": str(ray_folder), "RAY_TMPDIR": str(ray_folder), "COLUMNS": "200"}
    # Ray kills its own tasks when the machine is short of memory, also when other programs took it.
    return kept | {"RAY_memory_monitor_refresh_ms": "0"} | more


def pack_command(num_images: int, folder: str | Path) -> list[str]:
    """Return ``data pack`` of 28x28 grey images.

    Fashion-MNIST from Debian's package if it is installed, else garments that the program draws.
    """
    source = (
        "keras:fashion_mnist" if DEBIAN_FASHION.is_dir() else f"synthetic:garments:{num_images}"
    )
    return ["data", "pack", source, str(folder), "--limit", str(num_images)]


def train_command(data: str | Path, run: str | Path, **settings: object) -> list[str]:
    """Return ``train`` of a ``SMALL`` run; ``__`` in a name is the dot: ``training__steps=60``."""
    values = {
        "data.uri": data,
        "uri": run,
        **SMALL,
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    return [
        "train",
        *(part for name, value in values.items() for part in ("--set", f"{name}={value}")),
    ]


class Program:
    """A started command line; its standard output and error, together, are ``output``."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked, log: Path):
        self._process, self._log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def exit_code(self, seconds: float = START_SECONDS) -> int:
        """Wait for the end; the code is negative if a signal was the end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {seconds:.0f} s:\n{self.output[-3000:]}"
            ) from None

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program alone, as Kubernetes, a batch system or ``kill`` does."""
        self._process.send_signal(number)

    def press_ctrl_c(self) -> None:
        """Send SIGINT to the process group, as a terminal does: Ray's processes get it too."""
        os.killpg(self.pid, signal.SIGINT)

    def close_terminal(self) -> None:
        """Send SIGHUP to the process group, as when a terminal is closed."""
        os.killpg(self.pid, signal.SIGHUP)

    def wait_for_text(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait for a match of ``pattern`` in the output; fail if the program ends without it."""
        return wait_for(
            f"{pattern!r} in the output",
            lambda: self._running() and re.search(pattern, self.output),
            seconds,
        )

    def wait_until(self, condition: Callable[[], object], seconds: float = START_SECONDS) -> None:
        """Wait until ``condition`` holds; fail if the program ends before."""
        wait_for("what the test waits for", lambda: self._running() and condition(), seconds)

    def wait_for_checkpoint(self, run: Path, after: int, seconds: float = START_SECONDS) -> int:
        """Wait for a committed step after ``after`` in the run folder, and return it."""
        return wait_for(
            f"a checkpoint after step {after}",
            lambda: self._running() and newest_step(run) > after and newest_step(run),
            seconds,
        )

    def nothing_left(self, but: Container[str] = ()) -> None:
        """Fail if a process that the program started outlives it, except those named in ``but``."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while (
            left := [process for process in session_processes(self.pid) if process.name not in but]
        ) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, (
            f"still there {LEAVE_SECONDS:.0f} s after the program ended: {left}\n"
            f"{self.output[-3000:]}"
        )

    def _running(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(
                f"ended early with {self._process.returncode}:\n{self.output[-3000:]}"
            )
        return True


@contextmanager
def started(
    arguments: Sequence[str],
    log: Path,
    env: Mapping[str, str],
    module: str = "job",
    *,
    fork: bool = False,
) -> Iterator[Program]:
    """Run the program meanwhile; at the end, also of a failing test, end all its processes.

    With ``fork`` it begins with TensorFlow loaded.
    """
    if fork:
        child = forked(module, arguments, env, log)
        try:
            yield Program(child, log)
        finally:
            end_session(child.pid)
            child.kill()
        return
    command = [sys.executable, "-m", module, *arguments]
    # A shell's background jobs ignore SIGINT, nohup SIGHUP, and so would all their children; a
    # handler is not inherited.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    with server_process(command, lambda: True, log, env=env) as process:
        try:
            yield Program(process, log)
        finally:
            end_session(process.pid)


def run(
    arguments: Sequence[str],
    log: Path,
    env: Mapping[str, str],
    seconds: float = START_SECONDS,
    module: str = "job",
    *,
    fork: bool = False,
) -> tuple[int, str]:
    """Return exit code and output of the program; fail if it leaves a process running."""
    with started(arguments, log, env, module, fork=fork) as program:
        code = program.exit_code(seconds)
        program.nothing_left()
        return code, program.output


def processes() -> list[Process]:
    """Return every process that runs on this machine; ``/proc/PID/stat``: see proc(5)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            before, _, after = (folder / "stat").read_text().rpartition(")")
            state, parent, _, session, *_ = after.split()
            if state not in "ZX":
                found.append(
                    Process(int(folder.name), int(parent), int(session), before.partition("(")[2])
                )
    return found


def session_processes(session: int) -> list[Process]:
    """Return those of one session: Ray's workers have their process groups, but stay in it."""
    return [process for process in processes() if process.session == session]


def descendants(pid: int) -> list[Process]:
    """Return the children of ``pid``, their children and so on, in any session."""
    alive, found, parents = processes(), [], {pid}
    while children := [process for process in alive if process.parent in parents]:
        found += children
        parents = {process.pid for process in children}
    return found


def end_session(session: int) -> None:
    """Send SIGKILL, by pid, to what is left of a session."""
    for process in session_processes(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def newest_step(run_folder: Path) -> int:
    """Return the step of the newest committed checkpoint; 0 if there is none yet."""
    committed = Checkpoints(open_store(str(run_folder))).committed()
    return committed[0].step if committed else 0


def whole_checkpoints(run_folder: Path) -> list[int]:
    """Return the committed steps, newest first; ``StorageError`` if a part does not verify."""
    checkpoints = Checkpoints(open_store(str(run_folder)))
    steps = [manifest.step for manifest in checkpoints.committed()]
    for step in steps:
        checkpoints.restore(step)
    return steps


def state(run_folder: Path, step: int) -> dict[str, NDArray[np.generic]]:
    """Return every array of a checkpoint, by file and variable."""
    arrays = {}
    for path in sorted((run_folder / "checkpoints" / f"step-{step:09d}").glob("*.npz")):
        with np.load(path, allow_pickle=False) as loaded:
            arrays |= {f"{path.name}: {name}": loaded[name] for name in loaded.files}
    return arrays
