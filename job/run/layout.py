"""Layout of a run folder: every key in it.

::

    RUN/
      run.yaml                                 configuration of the latest attempt
      lease.json                               holder of the folder (job.run.lease)
      status.json                              the run now (job.run.status_file)
      summary.json                             written last: the run is done (job.run.summary)
      tracking.json                            the run of a tracking service (job.tracking)
      report.html                              HTML report (job.report)
      evaluation.json, pairs.png               of `evaluate --record` (job.quality)
      checkpoints/                             keys in job.checkpoints
        step-000001200/
          generator.npz, discriminator.npz, generator_optimizer.npz, ...
          generator.keras                      for other programs
          manifest.json                        written last: the checkpoint is committed
          quarantined.json, pinned.json        marks
        writer.json                            attempt that may write checkpoints
        starts.json                            crashes after a restore
      samples/
        step-000001200.png, progress.gif       grids, and all of them as an animation
      starts/20260102T030405Z.json             one attempt: facts and outcome (job.run.attempts)
      metrics/START-000001.jsonl               metric rows of an attempt of the workers
      metrics.jsonl                            rows of ended attempts, merged
      events/events.out.tfevents.START-000001  the same for TensorBoard
      logs/START-rank001-000001.jsonl          log of one process
      divergences/                             losses that were not finite (job.training)
      hangs/20260102T030405Z-worker-1.txt      stacks of a worker that hung

START names an attempt of the workers, ``20260102T030405Z-000``: the time at which the program was
started, and the restarts of the workers since. Names sort as text in the order of time.
"""

import datetime

CONFIGURATION = "run.yaml"
LEASE = "lease.json"
STATUS = "status.json"
SUMMARY = "summary.json"
TRACKING = "tracking.json"
REPORT = "report.html"
EVALUATION, PAIRS = "evaluation.json", "pairs.png"
GRIDS = "samples/step-"
PROGRESS = "samples/progress.gif"
STARTS = "starts/"
METRICS = "metrics.jsonl"
METRICS_SEGMENTS = "metrics/"
EVENTS = "events/"
LOGS = "logs/"
DIVERGENCES = "divergences/"
HANGS = "hangs/"

MAX_DIGITS = 12  # of a step in a key
STAMP = "%Y%m%dT%H%M%SZ"


def run_name(uri: str) -> str:
    """Return the run folder's name: the label ``run`` of every metric and log line."""
    return uri.rstrip("/").rpartition("/")[2] or "run"


def start_key(time: datetime.datetime) -> str:
    """Return the key of an attempt's record: ``starts/20260102T030405Z.json``."""
    return f"{STARTS}{time:{STAMP}}.json"


def start_name(stamp: str, num_restarts: int) -> str:
    """Return the name of an attempt of the workers; the program's first is ``STAMP-000``."""
    return f"{stamp}-{num_restarts:03d}"


def metrics_key(start: str, number: int) -> str:
    """Return the key of a segment of metric rows: ``metrics/START-000001.jsonl``."""
    return f"{METRICS_SEGMENTS}{start}-{number:06d}.jsonl"


def events_key(start: str, number: int) -> str:
    """Return the key of a segment of events; TensorBoard reads them in the order of names."""
    return f"{EVENTS}events.out.tfevents.{start}-{number:06d}"


def log_key(start: str, who: str, number: int) -> str:
    """Return the key of a segment of a process's log: ``logs/START-rank001-000001.jsonl``."""
    return f"{LOGS}{start}-{who}-{number:06d}.jsonl"


def hang_key(time: datetime.datetime, rank: int) -> str:
    """Return the key of the stacks of a worker that the watchdog ended."""
    return f"{HANGS}{time:{STAMP}}-worker-{rank}.txt"


def grid_key(step: int) -> str:
    """Return the key of a grid, zero-padded to sort in step order."""
    return f"{GRIDS}{step:09d}.png"


def grid_step(key: str) -> int | None:
    """Return the step of a grid's key; None for another key."""
    digits = key.removeprefix(GRIDS).removesuffix(".png")
    return int(digits) if key == f"{GRIDS}{digits}.png" and is_number(digits) else None


def is_number(digits: str) -> bool:
    """Return whether ``int`` reads ``digits`` and a key may have them; ``²`` is a digit, too."""
    return digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
