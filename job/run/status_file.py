"""``status.json``: the chief's present view of the run, so that reading a status is a few requests.

The writer fetches its content at each flush. A dead job leaves its last one, with its ``time``; the
lease says if a job is alive.
"""

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from typing import Any

from job.telemetry.logs import plain, time_text
from job.telemetry.step_report import StepReport, seconds_left

FORMAT_VERSION = 1
MAX_BYTES = 1 << 20
MAX_POINTS = 120
CURVES = ("generator_loss", "discriminator_loss")
SCORES = ("step", "frechet_distance")


class StatusFile:
    """The training thread calls ``observe``, the writer's thread ``content``.

    ``goodput`` returns the part of the file that another class keeps (``job.run.goodput``).
    """

    def __init__(
        self,
        start: str,
        every_seconds: float,
        goodput: Callable[[], dict[str, Any]] = dict,
    ):
        self._lock = threading.Lock()
        self._document: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "start": start,
            "every_seconds": every_seconds,
            "rollbacks": 0,
        }
        self._goodput = goodput
        self._points: list[tuple[float, ...]] = []
        self._scores: list[tuple[float, float]] = []
        self._stride, self._num_seen = 1, 0
        self._checkpoint_step: int | None = None
        self._has_report = False
        self._first_step = math.inf
        self._trained_at = math.nan  # the latest report over steps

    def resume_from(self, data: bytes) -> None:
        """Keep curves and scores of earlier attempts up to this one; skip unreadable ones."""
        try:
            document = json.loads(data[:MAX_BYTES])
            points, scores = (
                [
                    tuple(float(value) for value in point)
                    for point in zip(*(curves[name] for name in names), strict=True)
                ]
                for curves, names in (
                    (document["curves"], ("step", *CURVES)),
                    (document.get("scores", {name: [] for name in SCORES}), SCORES),
                )
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        with self._lock:
            first_score = min([self._first_step, *(step for step, _ in self._scores)])
            earlier = [(step, value) for step, value in scores if step < first_score]
            self._scores = earlier[-MAX_POINTS:] + self._scores
            first_step = self._points[0][0] if self._points else math.inf
            before = [point for point in points if point[0] < min(first_step, self._first_step)]
            self._points = [
                (int(step), *values) for step, *values in before[-MAX_POINTS:]
            ] + self._points

    def observe(self, progress: StepReport, now: float, num_steps: int) -> None:
        """Record the latest report."""
        report = {**dataclasses.asdict(progress), "seconds_left": seconds_left(progress)}
        with self._lock:
            # A report without steps has no times.
            if not num_steps and (before := self._document.get("progress")):
                report |= {
                    name: value
                    for name, value in before.items()
                    if name.endswith("_seconds") and name in report
                }
            self._first_step = min(self._first_step, progress.step + 1)
            if self._has_report and progress.checkpoint_step not in (None, self._checkpoint_step):
                self._document["checkpoint_time"] = time_text(now)
            self._checkpoint_step, self._has_report = progress.checkpoint_step, True
            self._document |= {"time": time_text(now), "progress": report}
            if num_steps:
                # NaN is written as text and read as unknown.
                self._document["report_seconds"] = now - self._trained_at
                self._trained_at = now
                self._add_point(progress)

    def grid(self, key: str) -> None:
        """Record the newest grid."""
        with self._lock:
            self._document["grid"] = key

    def score(self, step: int, distance: float) -> None:
        """Record the Frechet distance after ``step`` steps; keep the last ``MAX_POINTS``."""
        with self._lock:
            before = [score for score in self._scores if score[0] < step]  # if the run rolled back
            self._scores = [*before, (step, float(f"{distance:.4g}"))][-MAX_POINTS:]

    def metrics_url(self, url: str) -> None:
        """Record the address of the chief's metrics."""
        with self._lock:
            self._document["metrics_url"] = url

    def values(self, values: dict[str, Any]) -> None:
        """Record all series of the last row."""
        with self._lock:
            self._document["values"] = values

    def rolled_back(self) -> None:
        """Count a rollback."""
        with self._lock:
            self._document["rollbacks"] += 1

    def content(self) -> bytes | None:
        """Return the file; None before the first report."""
        with self._lock:
            if not self._has_report:
                return None
            curves = {
                name: [point[number] for point in self._points]
                for number, name in enumerate(("step", *CURVES))
            }
            scores = {
                name: [score[number] for score in self._scores]
                for number, name in enumerate(SCORES)
            }
            document = self._document | {"curves": curves, "scores": scores} | self._goodput()
            return json.dumps(plain(document), indent=1).encode()

    def _add_point(self, progress: StepReport) -> None:
        """Add one report of ``stride``: a bounded number of points covers the attempt evenly."""
        while self._points and self._points[-1][0] >= progress.step:  # the run rolled back
            self._points.pop()
        if self._num_seen % self._stride == 0:
            self._points.append(
                (progress.step, *(float(f"{getattr(progress, name):.4g}") for name in CURVES))
            )
        self._num_seen += 1
        if len(self._points) > MAX_POINTS:
            self._points = self._points[::2]
            self._stride *= 2
