"""The history of a run, written by the chief: metric rows, TensorBoard events and ``status.json``.

The training thread only reads the registry at intervals; the writer's thread does the rest. Rows
are identified by ``start`` and ``row``, so a row written twice counts once (``metric_rows``).

    {"time": "2026-01-02T03:04:05.678Z", "start": "20260102T030405Z-000", "row": 3,
     "phase": "train", "step": 1200, "dcgan_step": 1200, ...}
"""

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from PIL import Image

from job.config.errors import StorageError
from job.data.json_fields import object_or_empty
from job.run import tensorboard
from job.run.goodput import GOODPUT, GoodputRecorder
from job.run.layout import STATUS, events_key, grid_key, metrics_key
from job.run.segments import Segments, Writer
from job.run.status_file import StatusFile
from job.storage.store import ObjectStore
from job.telemetry.logs import plain, time_text
from job.telemetry.step_report import StepReport

DIGITS = 6  # a float32 has no more than seven
# Of growing counts and times: with six digits their differences, which curves show, become steps.
EXACT_DIGITS = 12
EXACT = ("_total", "_sum", "_count", "_created", "_timestamp_seconds")


class History:
    """The history of one attempt of the workers.

    ``read_values`` returns the present values of the series, ``clock`` seconds since 1970.
    ``on_goodput`` gets the run's goodput, 0 to 1, at each row, if it is known.
    """

    def __init__(
        self,
        writer: Writer,
        start: str,
        read_values: Callable[[], Mapping[str, float]],
        every_seconds: float,
        *,
        clock: Callable[[], float] = time.time,
        on_goodput: Callable[[float], None] = lambda share: None,
    ):
        self._start, self._read_values, self._on_goodput = start, read_values, on_goodput
        self._every_seconds, self._clock = every_seconds, clock
        self._writer = writer
        self._rows = writer.open(lambda number: metrics_key(start, number))
        self._events: Segments = writer.open(
            lambda number: events_key(start, number), tensorboard.version_event(clock())
        )
        self._num_rows = 0
        self._row_at = -math.inf
        self._last: tuple[StepReport, bool] | None = None  # the latest report; True if it has a row
        self._has_trained = False
        self._goodput = GoodputRecorder(start)
        self.status = StatusFile(start, every_seconds, self._goodput.content)
        writer.later(self._read_status)
        writer.replace(STATUS, self.status.content)

    def _read_status(self, store: ObjectStore) -> None:
        try:
            data = store.read(STATUS) if store.stat(STATUS) else None
            stored = None if data is None else object_or_empty(data)
            self._goodput.resume_from(store, stored)
        except StorageError:
            self._writer.later(self._read_status)  # else the first flush replaces the file
            raise
        if data:
            self.status.resume_from(data)

    def observe(self, progress: StepReport, num_steps: int) -> None:
        """Record a report over ``num_steps`` steps.

        It becomes a row if it is the first, or of a checkpoint, or if the last row is old enough.
        """
        now = self._clock()
        is_first_call = num_steps > 0 and not self._has_trained
        is_beginning = progress.phase in ("start", "compile")
        self._has_trained = (self._has_trained or num_steps > 0) and not is_beginning
        is_due = (
            is_beginning
            or is_first_call
            or progress.phase == "checkpoint"
            or now - self._row_at >= self._every_seconds
        )
        if is_beginning:
            self._event(partial(tensorboard.restart_event, now, progress.step))
        self._last = (progress, is_due)
        self.status.observe(progress, now, num_steps)
        self._goodput.observe(
            now, progress.step, num_steps, progress.step_seconds, is_beginning=is_beginning
        )
        if is_due:
            self._row(progress, now)

    def grid(self, step: int, make_png: Callable[[], bytes]) -> None:
        """Record the grid of ``step``; the writer's thread encodes it."""
        self.status.grid(grid_key(step))
        self._event(partial(_picture_event, self._clock(), step, make_png))

    def close(self) -> None:
        """Add a row of the last report, if it has none, and let the writer write everything."""
        if self._last and not self._last[1]:
            self._row(self._last[0], self._clock())
        self._writer.flush_soon()

    def _row(self, progress: StepReport, now: float) -> None:
        values = dict(self._read_values())
        self._goodput.phases(now, values)
        if goodput := self._goodput.read():
            values[GOODPUT] = goodput.share
            self._on_goodput(goodput.share)
        self.status.values(_rounded(values))
        self._num_rows += 1
        self._row_at = now
        row: dict[str, Any] = {
            "time": time_text(now, "milliseconds"),
            "start": self._start,
            "row": self._num_rows,
            "phase": progress.phase,
            "step": progress.step,
        }
        line = json.dumps(row | _rounded(values), separators=(",", ":"), allow_nan=False)
        self._rows.append(line.encode() + b"\n", soon=progress.phase == "checkpoint")
        self._event(partial(tensorboard.scalars_event, now, progress.step, values))

    def _event(self, encode: Callable[[], bytes]) -> None:
        """Encode in the writer's thread: the checksum of a large picture takes 0.1 s."""
        self._writer.later(lambda store: self._events.append(encode()))


def _picture_event(now: float, step: int, make_png: Callable[[], bytes]) -> bytes:
    png = make_png()
    with Image.open(io.BytesIO(png)) as picture:
        width, height = picture.size
    return tensorboard.picture_event(now, step, "samples", png, height, width)


def _rounded(values: Mapping[str, float]) -> dict[str, Any]:
    """Return JSON values: whole numbers and counters exact, others with a float32's digits."""

    def rounded(name: str, value: float) -> Any:
        if math.isfinite(value) and value == int(value):
            return int(value)
        digits = EXACT_DIGITS if name.partition("{")[0].endswith(EXACT) else DIGITS
        return plain(float(f"{value:.{digits}g}"))

    return {name: rounded(name, value) for name, value in values.items()}
