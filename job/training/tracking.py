"""The listener that sends measures, scores, grids and the outcome to a tracking service."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from job.checkpoints.uploader import SaveEvent
from job.config.spec import RunSpec
from job.config.versions import versions
from job.data.index import Index
from job.run.layout import run_name
from job.storage.store import ObjectStore
from job.telemetry.step_report import Phase, StepReport
from job.tracking.service import Description, Status, open_service
from job.tracking.tracker import Tracker
from job.training.identity import settings_of
from job.training.listeners import Listener, Requests

RECORDS_SECONDS = 2.0  # of the grace after a stop, reserved for the run's own records
MEASURES = (
    "epoch",
    "images",
    "images_per_second",
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
    "discriminator_accuracy",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
    "step_seconds",
    "data_wait_seconds",
)


class TrackingListener(Listener):
    """Feeds ``tracker``: one report of a train call every ``every_seconds``, and the last one."""

    def __init__(
        self,
        tracker: Tracker,
        every_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._tracker, self._every_seconds, self._clock = tracker, every_seconds, clock
        self._logged_at = -math.inf
        self._last: StepReport | None = None
        self._status: Status = "failed"
        self._is_stopping = False

    def on_phase(self, phase: Phase) -> None:
        if phase == "done":
            self._status = "finished"

    def on_report(self, report: StepReport, num_steps: int) -> None:
        if not num_steps:
            return
        self._last, now = report, self._clock()
        if now - self._logged_at >= self._every_seconds:
            self._logged_at = now
            self._log(report)

    def on_grid(self, step: int, images: np.ndarray) -> None:
        self._tracker.log_grid(step)

    def on_scores(self, step: int, scores: dict[str, float]) -> None:
        self._tracker.log("scores", step, scores)

    def on_save_event(self, event: SaveEvent) -> None:
        if event.outcome == "committed":
            self._tracker.log_checkpoint(event.step)

    def on_requests(self, requests: Requests) -> None:
        self._is_stopping |= requests.stop

    def on_finish(self) -> None:
        """Begin to send the last report, which is logged once only, and how training ended."""
        if self._is_stopping and self._status == "failed":
            self._status = "killed"
        if self._last:
            self._log(self._last)
        self._tracker.finish(self._status)

    def close(self, max_seconds: float = math.inf) -> None:
        """Do the same after an error, and wait until it is sent."""
        if self._last:
            self._log(self._last)
        self._tracker.close(self._status, max_seconds)

    def _log(self, report: StepReport) -> None:
        values = {name: float(getattr(report, name)) for name in MEASURES}
        self._tracker.log("metrics", report.step, values)


@contextmanager
def tracking(
    spec: RunSpec, index: Index, store: ObjectStore | None, seconds_left: Callable[[], float]
) -> Iterator[list[Listener]]:
    """Yield the listener that tracks the run of the folder ``store``, if it is to be tracked.

    It waits for the service no longer than ``seconds_left()``, less ``RECORDS_SECONDS``.
    """
    if spec.tracking.service == "none" or store is None:
        yield []
        return
    facts = {
        "run_folder": spec.uri,
        "data_fingerprint": index.fingerprint,
        "dcgan_train_version": versions()["dcgan-train"],
    }
    name = spec.tracking.name or run_name(spec.uri)
    description = Description(spec.tracking.project, name, settings_of(spec), facts)
    tracker = Tracker(open_service(spec.tracking, description), store, spec.tracking)
    listener = TrackingListener(tracker, spec.history.every_seconds)
    try:
        yield [listener]
    finally:
        listener.close(seconds_left() - RECORDS_SECONDS)
