"""Tracked runs of one worker without Ray."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from job.run.layout import TRACKING
from tests.launch.program import Program, environment, newest_step, started
from tests.streaming.sets import pack_numbered
from tests.training.alone import SETTINGS

STEPS = 2000
EVERY = 200  # steps between checkpoints, and between grids


def pack(folder: Path) -> Path:
    """Pack 40 images of 8x8."""
    pack_numbered(folder / "set", 40, 16, height=8, width=8)
    return folder / "set"


@contextmanager
def training(data: Path, run: Path, env: dict[str, str], **settings: object) -> Iterator[Program]:
    """Train on ``data`` meanwhile; ``__`` in a name is the dot. The output is in ``RUN.log``."""
    values = {
        **SETTINGS,
        "uri": run,
        "data.uri": data,
        "training.steps": STEPS,
        "checkpoints.every_steps": EVERY,
        "samples.every_steps": EVERY,
        "history.every_seconds": 1,
        "metrics.port": 0,
        "metrics.linger_seconds": 0,
        **{name.replace("__", "."): value for name, value in settings.items()},
    }
    arguments = ["0", "1", *(f"{key}={value}" for key, value in values.items())]
    log = run.with_suffix(".log")
    env = environment(run.parent, TF_CPP_MIN_LOG_LEVEL="2") | env
    with started(arguments, log, env, "tests.tracking.worker", fork=True) as program:
        yield program


class Course(NamedTuple):
    """The steps up to which a killed attempt was tracked, and the last step of the next one."""

    killed_at: int
    last_grid: int
    steps: int


def kill_and_resume(data: Path, run: Path, env: dict[str, str], **settings: object) -> Course:
    """Kill a run between checkpoints, so that tracked steps are trained again, and resume it."""
    far = {"training__steps": 100_000, "checkpoints__every_steps": 5 * EVERY}
    with training(data, run, env, **far, **settings) as program:
        _stop_between_checkpoints(program, run)
        program.send(signal.SIGKILL)
        program.exit_code()
    killed_at, last_grid, resumed_at = last_step(run), last_step(run, "samples"), newest_step(run)
    assert resumed_at < killed_at
    steps = resumed_at + 3 * EVERY
    with training(data, run, env, training__steps=steps, **settings) as program:
        assert program.exit_code() == 0, program.output
    return Course(killed_at, last_grid, steps)


def _stop_between_checkpoints(program: Program, run: Path) -> None:
    """Stop the process when tracked steps have no checkpoint; one may be committed meanwhile."""

    def is_between() -> bool:
        return last_step(run) > newest_step(run) > 0

    is_stopped = False
    while not is_stopped:
        program.wait_until(is_between)
        program.send(signal.SIGSTOP)
        program.wait_until(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
        if not (is_stopped := is_between()):
            program.send(signal.SIGCONT)


def last_step(run: Path, series: str = "metrics") -> int:
    """Return the last step of ``series`` that the run folder lists as sent."""
    path = run / TRACKING
    stored = json.loads(path.read_text()) if path.exists() else {}
    return int(stored.get("last_steps", {}).get(series, 0))


def run_id(run: Path) -> str:
    """Return the id of the tracked run."""
    return str(json.loads((run / TRACKING).read_text())["run_id"])


def check_steps(steps: list[int], course: Course) -> None:
    """Each step once, from the first call to the last, of both attempts."""
    assert steps == sorted(set(steps))
    assert steps[0] < course.killed_at < steps[-1] == course.steps
