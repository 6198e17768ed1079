"""Tracked runs of one worker without Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.launch.program import Program, environment, started
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
