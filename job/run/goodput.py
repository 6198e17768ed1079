"""Goodput: the share of a run's time, over all its attempts, that was spent in steps that count.

Steps that were trained again after a crash or a rollback count once. The rest of the time is
starting (to the end of the first train call, which compiles), saving, grids, scores and lost steps.
The time between attempts of the program, when nothing ran, is left out. The chief keeps the record
in ``status.json``: few numbers, however long the run.
"""

import datetime
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from job.run import attempts
from job.run.attempts import AttemptRecord
from job.run.layout import STAMP
from job.run.stored_json import as_number, as_object, as_step, as_text
from job.storage.store import ObjectStore
from job.telemetry.logs import time_text

GOODPUT = "dcgan_goodput_ratio"
MAX_POINTS = 120
MAX_ATTEMPTS = 200
_Points = list[tuple[int, float]]  # a step, and the seconds of all steps that count up to it


@dataclass(frozen=True)
class Goodput:
    """Seconds of a run; the rest is the workers' agreement between calls, reports, and the end."""

    seconds: float = 0.0
    """Of all attempts of the program."""
    useful_seconds: float = 0.0
    """In steps that count."""
    lost_seconds: float = 0.0
    """In steps that were trained again, or will be."""
    starting_seconds: float = 0.0
    """Until the first train call ends, also after a crash or a rollback."""
    saving_seconds: float = 0.0
    """Checkpoints that blocked the training thread."""
    sampling_seconds: float = 0.0
    """Grids and scores."""

    @property
    def share(self) -> float:
        """The goodput, 0 to 1."""
        return min(1.0, self.useful_seconds / self.seconds) if self.seconds else 0.0


def read_goodput(stored: Mapping[str, Any], newest: AttemptRecord | None) -> Goodput | None:
    """Return the goodput in ``status.json``, up to the end of the ``newest`` attempt if it ended.

    None if the document has none: of an earlier version, or before the first report.
    """
    if (found := _parse(stored)) is None:
        return None
    goodput, stamp, time, _ = found
    ended = [newest] if newest and newest.stamp == stamp else []
    return _with_ends(goodput, ended, stamp, time)


class GoodputRecorder:
    """The record of one attempt of the workers, ``start``. The training thread calls ``observe``
    and ``phases``, the writer's thread the others."""

    def __init__(self, start: str):
        self._start, self._stamp = start, _stamp(start)
        self._since = _begun(self._stamp)
        self._lock = threading.Lock()
        self._earlier = Goodput()
        self._points: _Points = []
        self._step_seconds = 0.0  # of this attempt, also if lost
        self._is_first_call, self._is_known = True, False
        self._now = self._phases_at = self._since
        self._phases: dict[str, float] = {}

    def observe(
        self, now: float, step: int, num_steps: int, step_seconds: float, *, is_beginning: bool
    ) -> None:
        """Record ``num_steps`` up to ``step``. ``is_beginning``: the next ones compile."""
        with self._lock:
            self._now = now
            if is_beginning or num_steps:
                self._go_to(step - num_steps)
            if num_steps:
                seconds = 0.0 if self._is_first_call else num_steps * step_seconds
                self._step_seconds += seconds
                self._points.append((step, self._points[-1][1] + seconds))
            self._thin()
            self._is_first_call = is_beginning or (self._is_first_call and not num_steps)

    def phases(self, now: float, values: Mapping[str, float]) -> None:
        """Record the phases in ``values``, series of this process. ``now`` is since 1970."""
        phases = {
            name: values.get(f'dcgan_phase_seconds_total{{phase="{name}"}}', 0.0)
            for name in ("train", "sample", "score", "checkpoint", "done")
        }
        with self._lock:
            self._now = self._phases_at = now
            self._phases = phases

    def resume_from(self, store: ObjectStore, stored: Mapping[str, Any] | None) -> None:
        """Add the earlier attempts: ``stored`` is ``status.json``, None if there is none.

        Without their record in it the goodput of the run stays unknown.
        """
        found = _parse(stored or {})
        if stored is not None and found is None:
            return
        goodput, stamp, time, points = found or (Goodput(), "", self._since, [])
        stamps = [each for each in attempts.stamps(store) if stamp <= each < self._stamp]
        records = [attempts.read(store, each) for each in stamps[-MAX_ATTEMPTS:]]
        with self._lock:
            self._earlier, self._is_known = _with_ends(goodput, records, stamp, time), True
            if stamp == self._stamp:  # the workers restarted: the time since then counts
                self._since = time
            own, self._points = self._points, points
            if own:
                self._go_to(own[0][0])
                useful = self._points[-1][1]
                self._points += [(step, useful + seconds) for step, seconds in own[1:]]
            self._thin()

    def read(self) -> Goodput | None:
        """Return the goodput of the run at the last observation; None if not known."""
        with self._lock:
            if not self._is_known:
                return None
            earlier, phases = self._earlier, self._phases
            seconds = max(0.0, self._now - self._since)
            in_phases = max(0.0, self._phases_at - self._since)
            useful = self._points[-1][1] if self._points else 0.0
            before = earlier.useful_seconds + earlier.lost_seconds
            return Goodput(
                earlier.seconds + seconds,
                useful,
                max(0.0, before + self._step_seconds - useful),
                earlier.starting_seconds + max(0.0, in_phases - sum(phases.values())),
                earlier.saving_seconds + phases.get("checkpoint", 0.0),
                earlier.sampling_seconds + phases.get("sample", 0.0) + phases.get("score", 0.0),
            )

    def content(self) -> dict[str, Any]:
        """Return the part of ``status.json`` with the goodput; empty if it is not known."""
        if (goodput := self.read()) is None:
            return {}
        with self._lock:
            time, points = time_text(self._now, "milliseconds"), list(self._points)
        seconds = {name: round(value, 3) for name, value in asdict(goodput).items()}
        useful = [[step, round(value, 3)] for step, value in points]
        return {"goodput": {"start": self._start, "time": time, **seconds, "useful": useful}}

    def _go_to(self, step: int) -> None:
        """Drop the points after ``step``, which are trained again, and end with it."""
        if not self._points or self._points[-1][0] != step:
            useful = 0.0
            if self._points:
                steps, seconds = zip(*self._points, strict=True)
                useful = float(np.interp(step, steps, seconds))
            self._points = [point for point in self._points if point[0] < step]
            self._points.append((step, useful))

    def _thin(self) -> None:
        while len(self._points) > MAX_POINTS:
            del self._points[1:-1:2]


def _with_ends(goodput: Goodput, records: list[AttemptRecord], stamp: str, time: float) -> Goodput:
    """Add the recorded ends: of attempt ``stamp`` what came after ``time``, others as a whole.

    The others never reported, so that all of their time was starting.
    """
    seconds, starting = goodput.seconds, goodput.starting_seconds
    for record in records:
        if (ended := _time(record.end.get("time"))) is not None:
            more = max(0.0, ended - (time if record.stamp == stamp else _begun(record.stamp)))
            seconds += more
            starting += more if record.stamp != stamp else 0.0
    return Goodput(**(asdict(goodput) | {"seconds": seconds, "starting_seconds": starting}))


def _parse(stored: Mapping[str, Any]) -> tuple[Goodput, str, float, _Points] | None:
    """Return goodput, stamp, time and points of ``status.json``; None if one is missing or bad."""
    record = as_object(stored.get("goodput"))
    numbers = [as_number(record.get(field.name)) for field in fields(Goodput)]
    time, points = _time(record.get("time")), record.get("useful")
    if time is None or not isinstance(points, list) or len(points) > MAX_POINTS:
        return None
    known = [
        (step, seconds)
        for point in points
        if isinstance(point, list)
        and len(point) == 2
        and (step := as_step(point[0])) is not None
        and (seconds := as_number(point[1])) is not None
    ]
    valid = [number for number in numbers if number is not None and number >= 0]
    if len(known) != len(points) or len(valid) != len(numbers):
        return None
    return Goodput(*valid), _stamp(as_text(record.get("start"))), time, sorted(known)


def _stamp(start: str) -> str:
    return start.rpartition("-")[0]


def _begun(stamp: str) -> float:
    begun = datetime.datetime.strptime(stamp, STAMP)
    return begun.replace(tzinfo=datetime.UTC).timestamp()


def _time(text: Any) -> float | None:
    """Return seconds since 1970 of a stored time; None if it is not one."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
