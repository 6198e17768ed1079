"""A thread that sends a run's progress to a tracking service; training never waits for it.

A record is dropped after ``TRIES`` failures; the waits between them grow to ``MAX_WAIT_SECONDS``.
While ``MAX_WAITING`` records wait for a slow service, new ones are dropped.

    tracker = Tracker(service, store, TrackingSpec(service="mlflow"))
    tracker.log("metrics", 20, {"generator_loss": 1.2})
    tracker.close("finished")
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue

from job.checkpoints.best import best_of
from job.checkpoints.checkpoints import Checkpoints
from job.config.tracking import TrackingSpec
from job.run.layout import grid_key
from job.storage.store import ObjectMissing, ObjectStore
from job.telemetry.secrets import mask_secrets
from job.tracking.service import Service, Status
from job.tracking.tracked_run import TrackedRun, read_tracked_run, write_tracked_run

log = logging.getLogger("dcgan.tracking")

CLOSE_SECONDS = 10.0
MAX_WAITING = 256
TRIES = 3
MAX_WAIT_SECONDS = 60.0
MAX_REASON = 300


class _Abandoned(Exception):
    """The tracker was closed before the service had answered."""


class Tracker:
    """Sends to ``service`` what ``store``, the run folder, does not list as sent.

    After a failure it waits ``wait_seconds``, and twice as long after each further one. Its methods
    are for the training thread; they return at once and raise nothing.
    """

    def __init__(
        self,
        service: Service,
        store: ObjectStore,
        spec: TrackingSpec,
        *,
        wait_seconds: float = 1.0,
        close_seconds: float = CLOSE_SECONDS,
        clock: Callable[[], float] = time.time,
    ):
        self._service, self._store, self._spec = service, store, spec
        self._wait_seconds, self._close_seconds, self._clock = wait_seconds, close_seconds, clock
        self._tracked: TrackedRun | None = None  # None until the service knows the run
        self._is_described = False
        self._last_sent: dict[str, int] = {}  # steps, by series, of earlier attempts of the run
        self._last_put: dict[str, int] = {}  # of this one: it trains steps again after a rollback
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._closing, self._is_abandoned = threading.Event(), False
        self._failing_since: float | None = None
        self._num_failures = 0  # since the last success
        self._num_records = 0  # changed by the training thread only
        self._num_done = 0  # by the tracking thread only
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Log ``values`` of ``step``; ``series`` is one of ``tracked_run.SERIES``."""
        send = partial(self._service.log, step, self._clock(), dict(values))
        self._put_once(series, step, send)

    def log_grid(self, step: int) -> None:
        """Log the grid that the run folder has of ``step``."""

        def send() -> None:
            self._service.log_grid(step, self._store.read(grid_key(step)))

        self._put_once("samples", step, send)

    def log_checkpoint(self, step: int) -> None:
        """Log the URI of the checkpoint committed at ``step``, and of the one with the best score.

        The run folder keeps both.
        """

        def send() -> None:
            checkpoints = Checkpoints(self._store)
            tags = {"newest_checkpoint": checkpoints.uri(step)}
            if best := best_of(checkpoints.manifest(step).metrics):
                tags["best_checkpoint"] = checkpoints.uri(best.step)
            self._service.tag(tags)

        self._put(send)

    def finish(self, status: Status) -> None:
        """Let the thread send the rest and ``status``, and end. Only the first call counts."""
        if not self._closing.is_set():
            self._num_records += 1
            self._queue.put(partial(self._service.end, status))
            self._queue.put(None)
            self._closing.set()

    def close(self, status: Status, max_seconds: float = math.inf) -> None:
        """``finish``, and wait for it for at most ``close_seconds`` and ``max_seconds``.

        The thread then writes nothing more, also if a call of the service returns later.
        """
        self.finish(status)
        self._thread.join(max(0.0, min(self._close_seconds, max_seconds)))
        if self._thread.is_alive():
            self._is_abandoned = True
            self._service.abandon()
            log.warning("%s did not take the last of the run in time", self._spec.service)
        if num_lost := self._num_records - self._num_done:
            log.warning("%d records were not sent to %s", num_lost, self._spec.service)

    def _put_once(self, series: str, step: int, send: Callable[[], object]) -> None:
        if step > self._last_put.get(series, -1):
            self._last_put[series] = step
            self._put(partial(self._send_once, series, step, send))

    def _put(self, send: Callable[[], object]) -> None:
        self._num_records += 1
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put(send)

    def _run(self) -> None:
        while (send := self._queue.get()) is not None:
            self._num_done += any(self._is_done(send) for _ in range(TRIES))

    def _is_done(self, send: Callable[[], object]) -> bool:
        if self._num_failures:
            wait_seconds = self._wait_seconds * 2.0 ** min(self._num_failures - 1, 10)
            self._closing.wait(min(MAX_WAIT_SECONDS, wait_seconds))
        try:
            self._begin()
            self._check_open()
            send()
        except ObjectMissing as error:  # the run folder's fault: a refused grid, an old checkpoint
            log.debug("not tracked: %s", error)
            return True
        except Exception as error:  # a service must not end a run
            if not self._is_abandoned:
                self._fails(error)
            return False
        if self._failing_since is not None and not self._is_abandoned:
            seconds = time.monotonic() - self._failing_since
            log.info("the run is tracked by %s again, after %.0f s", self._spec.service, seconds)
        self._failing_since, self._num_failures = None, 0
        return True

    def _begin(self) -> None:
        if self._tracked is None:
            self._check_open()
            tracked = read_tracked_run(self._store, self._spec.service, self._spec.project)
            tracked.run_id = self._service.begin(tracked.run_id)
            self._tracked, self._last_sent = tracked, dict(tracked.last_steps)
        if not self._is_described:
            self._write(self._tracked)
            self._service.describe()
            self._is_described = True

    def _send_once(self, series: str, step: int, send: Callable[[], object]) -> None:
        if step > self._last_sent.get(series, -1) and self._tracked:
            self._tracked.last_steps[series] = step
            self._write(self._tracked)
            send()

    def _write(self, tracked: TrackedRun) -> None:
        """A later attempt may own ``tracking.json`` once this tracker is closed."""
        self._check_open()
        write_tracked_run(self._store, tracked)
        self._check_open()

    def _check_open(self) -> None:
        if self._is_abandoned:
            raise _Abandoned

    def _fails(self, error: Exception) -> None:
        self._num_failures += 1
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            reason = mask_secrets(" ".join(f"{type(error).__name__}: {error}".split()))
            log.warning(
                "the run is not tracked by %s, still trying: %s",
                self._spec.service,
                reason[:MAX_REASON],
            )
