"""Goodput: the share of a run's time that was spent in steps that count.

Steps that were trained again after a crash or a rollback count once. The rest of the time is
start-up, tracing, grids, scores and lost steps. The time between attempts of the program, when
nothing ran, is left out.
"""

import datetime
from collections.abc import Sequence

from job.report.metric_history import MetricHistory
from job.run.attempts import AttemptRecord
from job.run.layout import STAMP

STEP_SECONDS = "dcgan_step_seconds_sum"  # of the worker's process, so it begins at 0 in each


def read_goodput(attempts: Sequence[AttemptRecord], history: MetricHistory) -> float | None:
    """Return the share, 0 to 1, over all ``attempts``; None if no time is known."""
    useful = {row.attempt: row.values.get(STEP_SECONDS, 0.0) for row in history.rows}
    last = {name.rpartition("-")[0]: row.time for name, row in history.last_rows.items()}
    seconds = useful_seconds = 0.0
    for attempt in attempts:
        ended = _time(str(attempt.end.get("time") or last.get(attempt.stamp, "")))
        if ended is None:
            continue
        begun = datetime.datetime.strptime(attempt.stamp, STAMP).replace(tzinfo=datetime.UTC)
        seconds += max(0.0, (ended - begun).total_seconds())
        useful_seconds += sum(
            value for name, value in useful.items() if name.rpartition("-")[0] == attempt.stamp
        )
    return min(1.0, max(0.0, useful_seconds / seconds)) if seconds else None


def _time(text: str) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
