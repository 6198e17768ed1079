"""What a run survived, as its folder tells: starts, roll-backs, hangs, damaged checkpoints, repeated requests."""

import json
import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any, NamedTuple

from job.checkpoints.checkpoints import Checkpoints
from job.config.text import counted
from job.report.metric_history import MetricHistory
from job.run import attempts
from job.run.attempts import AttemptRecord
from job.run.layout import DIVERGENCES, HANGS, is_number
from job.run.metric_rows import MAX_STEP
from job.storage.store import ObjectMissing, ObjectStore

MAX_OF_A_KIND = 200
MAX_BYTES = 1 << 18
COUNTED = {
    "dcgan_fetch_retries_total": "images fetched again, first worker",
    "dcgan_checkpoint_failures_total": "tries to save that failed",
    "dcgan_preemptions_total": "asked to stop or to save early, first worker",
}
_REASON = re.compile(r'="([^"]*)"')


class Incident(NamedTuple):
    """``step`` is None where it is not known; ``kind`` and ``words`` are for people."""

    kind: str
    time: str
    step: int | None
    words: str


def read_starts(store: ObjectStore) -> list[AttemptRecord]:
    """Of the program, in order; of very many the last ones."""
    return [attempts.read(store, stamp) for stamp in attempts.stamps(store)[-MAX_OF_A_KIND:]]


def read_incidents(
    store: ObjectStore, starts: list[AttemptRecord], history: MetricHistory
) -> list[Incident]:
    """All that is told of, in the order of time where that is known."""
    found = [
        *_restarts(starts, history),
        *_divergences(store),
        *_hangs(store),
        *_quarantined(store),
        *_counted(history),
    ]
    return sorted(
        found,
        key=lambda fault: (
            not fault.time,
            "".join(letter for letter in fault.time[:19] if letter.isdigit()),
        ),
    )


def _restarts(starts: list[AttemptRecord], history: MetricHistory) -> Iterator[Incident]:
    """A start of the program after one that did not end by itself, and each further start of the workers."""
    for before, start in pairwise(starts):
        if not before.end:
            yield Incident(
                "the program was killed",
                start.stamp,
                _step(start.facts.get("step")),
                "started again from there",
            )
    last_step = 0
    for name, first in history.first_rows.items():
        number = name.rpartition("-")[2]
        if is_number(number) and int(number) > 0:
            lost = max(0, last_step - first.step)
            yield Incident(
                "the workers started again",
                first.time,
                first.step,
                f"start {int(number) + 1}; {counted(lost, 'step')} trained again",
            )
        last_step = history.last_rows[name].step


def _divergences(store: ObjectStore) -> Iterator[Incident]:
    for entry in islice(store.list(DIVERGENCES), MAX_OF_A_KIND):
        told = _read(store, entry.key)
        workers = told.get("workers")
        of = (
            f" in the share of worker {', '.join(map(str, workers))}"
            if isinstance(workers, list) and workers
            else ""
        )
        good = told.get("last_good_checkpoint")
        yield Incident(
            "a number was not finite",
            str(told.get("time", ""))[:40],
            _step(told.get("step")),
            f"back to step {good}{of}"[:200],
        )


def _hangs(store: ObjectStore) -> Iterator[Incident]:
    for entry in islice(store.list(HANGS), MAX_OF_A_KIND):
        try:
            words = store.read_range(entry.key, 0, 300).decode(errors="replace").partition("\n")[0]
        except ObjectMissing:
            continue
        yield Incident(
            "a worker hung",
            entry.key.removeprefix(HANGS).partition("-")[0],
            None,
            f"{words}; stacks: {entry.key}",
        )


def _quarantined(store: ObjectStore) -> Iterator[Incident]:
    checkpoints = Checkpoints(store)
    for folder in checkpoints.folders():
        if folder.is_quarantined:
            yield Incident(
                "a checkpoint was damaged", "", folder.step, checkpoints.why_quarantined(folder)
            )


def _counted(history: MetricHistory) -> Iterator[Incident]:
    """Counters of all starts together: each begins at 0 with its process, and the rows are the first worker's alone."""
    sums: dict[str, float] = {}
    for row in history.last_rows.values():
        for name, value in row.values.items():
            if value > 0 and name.partition("{")[0] in COUNTED:
                sums[name] = sums.get(name, 0.0) + value
    for name, value in sorted(sums.items()):
        reason = " ".join(_REASON.findall(name))
        yield Incident(
            COUNTED[name.partition("{")[0]],
            "",
            None,
            f"{value:,.0f} times" + (f" ({reason})" if reason else ""),
        )


def _step(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STEP
        else None
    )


def _read(store: ObjectStore, key: str) -> dict[str, Any]:
    try:
        told = json.loads(store.read_range(key, 0, MAX_BYTES))
    except (ObjectMissing, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
