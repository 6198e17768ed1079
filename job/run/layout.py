"""What lies where in a run folder, beside its checkpoints (``job.checkpoints.manifest``) and its ``summary.json`` (``summary``).

A *start* names one start of the workers: when the program was started, and which of its starts of the workers it is, counted from 0. Starts
sort as text in the order in which they happened.
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
    """The run folder's own name: the label ``run`` of every metric and log line."""
    return uri.rstrip("/").rpartition("/")[2] or "run"


def start_key(time: datetime.datetime) -> str:
    """What is known of one start of the program: ``starts/20260102T030405Z.json``."""
    return f"{STARTS}{time:{STAMP}}.json"


def start_name(stamp: str, num_restarts: int) -> str:
    """``20260102T030405Z-000``: the first start of the workers by the program that was started at ``stamp``."""
    return f"{stamp}-{num_restarts:03d}"


def metrics_key(start: str, number: int) -> str:
    """A segment of the rows of one start: ``metrics/20260102T030405Z-000-000001.jsonl``."""
    return f"{METRICS_SEGMENTS}{start}-{number:06d}.jsonl"


def events_key(start: str, number: int) -> str:
    """A segment of the same as TensorBoard reads it, in the order of its name: ``events/events.out.tfevents.20260102T030405Z-000-000001``."""
    return f"{EVENTS}events.out.tfevents.{start}-{number:06d}"


def log_key(start: str, who: str, number: int) -> str:
    """A segment of the log of one process: ``logs/20260102T030405Z-000-rank001-000001.jsonl``."""
    return f"{LOGS}{start}-{who}-{number:06d}.jsonl"


def hang_key(time: datetime.datetime, rank: int) -> str:
    """The stacks of a worker that was ended because nothing finished: ``hangs/20260102T030405Z-worker-1.txt``."""
    return f"{HANGS}{time:{STAMP}}-worker-{rank}.txt"


def grid_key(step: int) -> str:
    """The grid of a step, zero-padded so that a plain listing is in step order: ``samples/step-000001200.png``."""
    return f"{GRIDS}{step:09d}.png"


def grid_step(key: str) -> int | None:
    """The step of a grid by its key; None for a key that is no grid's."""
    digits = key.removeprefix(GRIDS).removesuffix(".png")
    return int(digits) if key == f"{GRIDS}{digits}.png" and is_number(digits) else None


def is_number(digits: str) -> bool:
    """Whether ``int`` reads ``digits`` and a key of ours may have them: ``isdigit`` alone is also true of ``²``."""
    return digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
