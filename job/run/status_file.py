"""``status.json``: what the first worker knows of the run now, in one small object, so that a look at a run is a few requests.

Knows no store: the writer asks for its content at each flush. What a job that died left there is as old as its ``time``; whether a job lives
says its lease.
"""

import dataclasses
import datetime
import json
import math
import threading
from typing import Any

from job.telemetry.logs import plain
from job.telemetry.step_report import StepReport, seconds_left

FORMAT_VERSION = 1
MAX_BYTES = 1 << 20
MAX_POINTS = 120
CURVES = ("generator_loss", "discriminator_loss")


class StatusFile:
    """``observe`` is called by the training thread, ``content`` by the writer's every ``every_seconds``."""

    def __init__(self, start: str, every_seconds: float):
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "start": start,
            "every_seconds": every_seconds,
            "rollbacks": 0,
        }
        self._points: list[tuple[float, ...]] = []
        self._stride, self._num_seen = 1, 0
        self._checkpoint_step: int | None = None
        self._has_report = False
        self._first_step = math.inf
        self._trained_at = math.nan  # the latest report over steps

    def go_on_from(self, data: bytes) -> None:
        """Keep the curves of the starts before this one, as far as they lead to it; what cannot be read is left out."""
        try:
            curves = json.loads(data[:MAX_BYTES])["curves"]
            points = [
                tuple(float(value) for value in point)
                for point in zip(*(curves[name] for name in ("step", *CURVES)), strict=True)
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        with self._lock:
            first_step = self._points[0][0] if self._points else math.inf
            before = [point for point in points if point[0] < min(first_step, self._first_step)]
            self._points = [
                (int(step), *values) for step, *values in before[-MAX_POINTS:]
            ] + self._points

    def observe(self, progress: StepReport, now: float, num_steps: int) -> None:
        """The latest report."""
        report = {**dataclasses.asdict(progress), "seconds_left": seconds_left(progress)}
        with self._lock:
            if not num_steps and (
                before := self._told.get("progress")
            ):  # it has no times of its own
                report |= {
                    name: value
                    for name, value in before.items()
                    if name.endswith("_seconds") and name in report
                }
            self._first_step = min(self._first_step, progress.step + 1)
            if self._has_report and progress.checkpoint_step not in (None, self._checkpoint_step):
                self._told["checkpoint_time"] = _text(now)
            self._checkpoint_step, self._has_report = progress.checkpoint_step, True
            self._told |= {"time": _text(now), "progress": report}
            if num_steps:
                self._told["report_seconds"] = (
                    now - self._trained_at
                )  # NaN is said as text, and read as unknown
                self._trained_at = now
                self._add_point(progress)

    def grid(self, key: str) -> None:
        """The newest grid."""
        with self._lock:
            self._told["grid"] = key

    def metrics_url(self, url: str) -> None:
        """Keep where the first worker serves its metrics."""
        with self._lock:
            self._told["metrics_url"] = url

    def values(self, values: dict[str, Any]) -> None:
        """All series, as of the last row."""
        with self._lock:
            self._told["values"] = values

    def rolled_back(self) -> None:
        """The run went back to a checkpoint."""
        with self._lock:
            self._told["rollbacks"] += 1

    def content(self) -> bytes | None:
        """The file; None before the first report."""
        with self._lock:
            if not self._has_report:
                return None
            curves = {
                name: [point[number] for point in self._points]
                for number, name in enumerate(("step", *CURVES))
            }
            return json.dumps(plain(self._told | {"curves": curves}), indent=1).encode()

    def _add_point(self, progress: StepReport) -> None:
        """One report of `stride` is a point, so that the whole start is covered evenly by a bounded number of them."""
        while self._points and self._points[-1][0] >= progress.step:  # the run went back
            self._points.pop()
        if self._num_seen % self._stride == 0:
            self._points.append(
                (progress.step, *(float(f"{getattr(progress, name):.4g}") for name in CURVES))
            )
        self._num_seen += 1
        if len(self._points) > MAX_POINTS:
            self._points = self._points[::2]
            self._stride *= 2


def _text(now: float) -> str:
    return (
        datetime.datetime.fromtimestamp(now, datetime.UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
