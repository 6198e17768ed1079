"""The keys of a run folder, except checkpoints (``job.checkpoints.manifest``) and ``summary.json``.

A *start* names an attempt of the workers: the time at which the program was started and the number
of its restart, from 0. Names sort in the order of attempts.
"""

import datetime

CONFIGURATION = "run.yaml"
GRIDS = "samples/step-"
PROGRESS = "samples/progress.gif"
STARTS = "starts/"
HANGS = "hangs/"
DIVERGENCES = "divergences/"
STATUS = "status.json"
REPORT = "report.html"
METRICS = "metrics.jsonl"
METRICS_SEGMENTS = "metrics/"
EVENTS = "events/"
LOGS = "logs/"

MAX_DIGITS = 12  # of a step in a key
STAMP = "%Y%m%dT%H%M%SZ"


def run_name(uri: str) -> str:
    """Return the name of a run folder: the label ``run`` of every metric and log line."""
    return uri.rstrip("/").rpartition("/")[2] or "run"


def start_key(time: datetime.datetime) -> str:
    """Return the key of a program's attempt: ``starts/20260102T030405Z.json``."""
    return f"{STARTS}{time:{STAMP}}.json"


def start_name(stamp: str, num_restarts: int) -> str:
    """Return the name of the workers' attempt: ``20260102T030405Z-000`` before any restart."""
    return f"{stamp}-{num_restarts:03d}"


def metrics_key(start: str, number: int) -> str:
    """Return a segment of metric rows: ``metrics/20260102T030405Z-000-000001.jsonl``."""
    return f"{METRICS_SEGMENTS}{start}-{number:06d}.jsonl"


def events_key(start: str, number: int) -> str:
    """Return a segment for TensorBoard: ``events/events.out.tfevents.20260102T030405Z-000-000001``.

    TensorBoard reads them in the order of their names.
    """
    return f"{EVENTS}events.out.tfevents.{start}-{number:06d}"


def log_key(start: str, who: str, number: int) -> str:
    """Return a segment of a process's log: ``logs/20260102T030405Z-000-rank001-000001.jsonl``."""
    return f"{LOGS}{start}-{who}-{number:06d}.jsonl"


def hang_key(time: datetime.datetime, rank: int) -> str:
    """Return the key of a hung worker's stacks: ``hangs/20260102T030405Z-worker-1.txt``."""
    return f"{HANGS}{time:{STAMP}}-worker-{rank}.txt"


def grid_key(step: int) -> str:
    """Return the key of a grid, which sorts by step: ``samples/step-000001200.png``."""
    return f"{GRIDS}{step:09d}.png"


def grid_step(key: str) -> int | None:
    """Return the step of a grid's key; None for another key."""
    digits = key.removeprefix(GRIDS).removesuffix(".png")
    return int(digits) if key == f"{GRIDS}{digits}.png" and is_number(digits) else None


def is_number(digits: str) -> bool:
    """Return True for digits of a bounded number; ``isdigit`` is also true of ``²``."""
    return digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
