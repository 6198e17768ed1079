"""The incidents of a run, from its folder.

Restarts, rollbacks, hangs, damaged checkpoints and repeated requests.
"""

import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import NamedTuple

from job.checkpoints.checkpoints import Checkpoints
from job.config.text import counted
from job.data.json_fields import read_object
from job.report.metric_history import MetricHistory
from job.run import attempts
from job.run.attempts import AttemptRecord
from job.run.layout import DIVERGENCES, HANGS, is_number
from job.run.stored_json import as_step
from job.storage.store import ObjectMissing, ObjectStore

MAX_OF_A_KIND = 200
NOT_FINITE = "a number was not finite"
WORSE_IMAGES = "the images became worse"
COUNTERS = {
    "dcgan_fetch_retries_total": "image downloads retried, chief",
    "dcgan_checkpoint_failures_total": "checkpoint saves that failed",
    "dcgan_preemptions_total": "requests to stop or to save early, chief",
}
_LABEL_VALUE = re.compile(r'="([^"]*)"')


class Incident(NamedTuple):
    """``step`` and ``time`` may be unknown: None and empty."""

    kind: str
    time: str
    step: int | None
    details: str


def read_attempts(store: ObjectStore) -> list[AttemptRecord]:
    """Return the program's attempts in order, at most the last ``MAX_OF_A_KIND``."""
    return [attempts.read(store, stamp) for stamp in attempts.stamps(store)[-MAX_OF_A_KIND:]]


def read_incidents(
    store: ObjectStore, attempts: list[AttemptRecord], history: MetricHistory
) -> list[Incident]:
    """Return all incidents in the order of time; those of unknown time last."""
    incidents = [
        *_kills(attempts),
        *_restarts(history),
        *_divergences(store),
        *_hangs(store),
        *_quarantined(store),
        *_counts(history),
    ]
    # Stamps and ISO times have the same digits.
    return sorted(incidents, key=lambda one: (not one.time, re.sub(r"\D", "", one.time[:19])))


def _kills(attempts: list[AttemptRecord]) -> Iterator[Incident]:
    for before, attempt in pairwise(attempts):
        if not before.end:
            step = as_step(attempt.facts.get("step"))
            yield Incident("the program was killed", attempt.stamp, step, "resumed from this step")


def _restarts(history: MetricHistory) -> Iterator[Incident]:
    last_step = 0
    for attempt, first in history.first_rows.items():
        number = attempt.rpartition("-")[2]
        if is_number(number) and int(number) > 0:
            repeated = counted(max(0, last_step - first.step), "step")
            details = f"attempt {int(number) + 1}; {repeated} trained again"
            yield Incident("the workers restarted", first.time, first.step, details)
        last_step = history.last_rows[attempt].step


def _divergences(store: ObjectStore) -> Iterator[Incident]:
    for entry in islice(store.list(DIVERGENCES), MAX_OF_A_KIND):
        record = read_object(store, entry.key)
        details = f"rolled back to step {record.get('last_good_checkpoint')}"
        kind, distance, best = NOT_FINITE, record.get("frechet_distance"), None
        if distance is not None:
            kind, best = WORSE_IMAGES, record.get("best_frechet_distance")
            details += f"; Frechet distance {distance}, best {best}"
        workers = record.get("workers")
        if isinstance(workers, list) and workers:
            details += f"; found on worker {', '.join(map(str, workers))}"
        time, step = str(record.get("time", ""))[:40], as_step(record.get("step"))
        yield Incident(kind, time, step, details[:200])


def _hangs(store: ObjectStore) -> Iterator[Incident]:
    for entry in islice(store.list(HANGS), MAX_OF_A_KIND):
        try:
            first_line = store.read_range(entry.key, 0, 300).decode(errors="replace").split("\n")[0]
        except ObjectMissing:
            continue
        stamp = entry.key.removeprefix(HANGS).partition("-")[0]
        yield Incident("a worker hung", stamp, None, f"{first_line}; stacks: {entry.key}")


def _quarantined(store: ObjectStore) -> Iterator[Incident]:
    checkpoints = Checkpoints(store)
    for folder in checkpoints.folders():
        if folder.is_quarantined:
            reason = checkpoints.why_quarantined(folder)
            yield Incident("a checkpoint was quarantined", "", folder.step, reason)


def _counts(history: MetricHistory) -> Iterator[Incident]:
    """Sum counters over attempts: each starts at 0. The rows are the chief's."""
    sums: dict[str, float] = {}
    for row in history.last_rows.values():
        for name, value in row.values.items():
            if value > 0 and name.partition("{")[0] in COUNTERS:
                sums[name] = sums.get(name, 0.0) + value
    for name, value in sorted(sums.items()):
        reason = " ".join(_LABEL_VALUE.findall(name))
        details = f"{value:,.0f} times" + (f" ({reason})" if reason else "")
        yield Incident(COUNTERS[name.partition("{")[0]], "", None, details)
