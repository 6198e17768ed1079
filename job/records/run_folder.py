"""What lies where in a run folder, beside its checkpoints (``manifest``) and its ``summary.json`` (``summary``)."""

import datetime

CONFIGURATION = "run.yaml"
GRIDS = "samples/step-"
PROGRESS = "samples/progress.gif"


def start_key(time: datetime.datetime) -> str:
    """What is known of one start of the program: ``starts/20260102T030405Z.json``."""
    return f"starts/{time:%Y%m%dT%H%M%SZ}.json"


def hang_key(time: datetime.datetime, rank: int) -> str:
    """The stacks of a worker that was ended because nothing finished: ``hangs/20260102T030405Z-worker-1.txt``."""
    return f"hangs/{time:%Y%m%dT%H%M%SZ}-worker-{rank}.txt"


def grid_key(step: int) -> str:
    """The grid of a step, zero-padded so that a plain listing is in step order: ``samples/step-000001200.png``."""
    return f"{GRIDS}{step:09d}.png"


def grid_step(key: str) -> int | None:
    """The step of a grid by its key; None for a key that is no grid's."""
    digits = key.removeprefix(GRIDS).removesuffix(".png")
    return int(digits) if key == f"{GRIDS}{digits}.png" and digits.isdigit() else None
