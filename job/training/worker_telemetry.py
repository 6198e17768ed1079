"""A worker's telemetry: Prometheus metrics, history, watchdog and log, each a ``Listener``."""

import logging
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial

import numpy as np

from job.checkpoints.uploader import REFUSED, SaveEvent
from job.config.spec import RunSpec, WatchdogSpec
from job.config.versions import versions
from job.data.index import Index
from job.images.diversity import diversity
from job.images.grids import image_grid, png_bytes
from job.run.history import History
from job.run.layout import run_name
from job.run.process_records import Records
from job.storage.store import REASONS, ObjectStore
from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.series import current_values
from job.telemetry.server import DEFAULT_PORT, MetricsServer
from job.telemetry.step_report import Phase, StepReport
from job.telemetry.stream_metrics import StreamMetrics
from job.telemetry.watchdog import Hang, Watchdog, end_process
from job.training.listeners import Driver, Listener, Listeners, Requests
from job.training.topology import Topology
from job.training.tracking import tracking

log = logging.getLogger("dcgan.training")

EXIT_SECONDS = 5.0  # of the grace after a stop, reserved for what follows the last scrape
SCRAPED_SECONDS = 300.0  # longer than any usual scrape interval
MAX_COMPARED = 256  # images of the data set, for their diversity


class MetricsListener(Listener):
    """The Prometheus metrics of this worker; ``streaming`` are those of its reader."""

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        index: Index,
        *,
        target_world_size: int,
        num_hangs: int,
    ):
        self._spec, self._num_hangs = spec, num_hangs
        run, rank = run_name(spec.uri), topology.rank
        self._metrics = WorkerMetrics(run, rank, save_reasons=(*REASONS, REFUSED))
        self._metrics.world(topology.world_size, target_world_size, topology.restarts)
        self._metrics.checkpoints.every(spec.checkpoints.every_steps)
        self._metrics.hung(num_hangs)
        self._metrics.build_info(
            versions()["dcgan-train"], spec.preset or "none", index.fingerprint[:16]
        )
        self.registry, self.set_goodput = self._metrics.registry, self._metrics.goodput
        self.streaming = StreamMetrics(run, rank, self.registry, RETRIES)
        self._requests = Requests()
        self._grace_ends_at = math.inf
        self.server: MetricsServer | None = None
        if spec.metrics.enabled:
            first_port = DEFAULT_PORT if spec.metrics.port is None else spec.metrics.port
            port = first_port + topology.local_rank if first_port else 0
            is_any_port_good = spec.metrics.port is None
            host = spec.metrics.host or ""
            self.server = MetricsServer(self.registry, port, host, or_any=is_any_port_good)

    @contextmanager
    def serving(self) -> Iterator[str | None]:
        """Serve the metrics; yield their URL."""
        if not self.server:
            yield None
            return
        self.server.start()
        try:
            yield f"http://{_address(self._spec.metrics.host or '')}:{self.server.port}/metrics"
        finally:
            self.server.close()

    def on_phase(self, phase: Phase) -> None:
        self._metrics.enter(phase)

    def on_report(self, report: StepReport, num_steps: int) -> None:
        if num_steps:
            self._metrics.observe(report, num_steps)

    def on_first_images(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Set the diversity that generated images are to be compared with."""
        labels = None if labels is None else labels[:MAX_COMPARED]
        if (found := diversity(images[:MAX_COMPARED], labels)) is not None:
            self._metrics.data_diversity(found)

    def on_grid(self, step: int, images: np.ndarray) -> None:
        """Set the diversity of the grid; at step 0 the generator is untrained."""
        rows = np.arange(len(images)) // self._spec.samples.columns
        found = diversity(images, rows if self._spec.model.conditional else None)
        if step and found is not None:
            self._metrics.sampled(found)

    def on_scores(self, step: int, scores: dict[str, float]) -> None:
        self._metrics.scored(scores)

    def on_save_event(self, event: SaveEvent) -> None:
        self._metrics.checkpoints.ended(
            event.step,
            event.seconds,
            event.outcome,
            event.num_bytes,
            stages=event.stages,
            reason=event.reason,
        )

    def on_snapshot(self, seconds: float) -> None:
        self._metrics.checkpoints.held(seconds)

    def on_not_finite(self) -> None:
        self._metrics.not_finite()

    def on_resume(self, step: int) -> None:
        self._metrics.checkpoints.seen(step, fresh=False)

    def on_rollback(self) -> None:
        self._metrics.rolled_back()

    def on_requests(self, requests: Requests) -> None:
        """Count each request once, however long it lasts."""
        before, self._requests = self._requests, requests
        if requests.save and not before.save:
            self._metrics.preempted("node")
        if requests.stop and not before.stop:
            self._metrics.preempted("stop")
            grace_seconds = self._spec.checkpoints.grace_seconds
            self._grace_ends_at = time.monotonic() + grace_seconds

    def seconds_left(self) -> float:
        """Return the rest of the grace period; infinite until the run is asked to stop."""
        return self._grace_ends_at - time.monotonic()

    def on_finish(self) -> None:
        """Serve the last values for ``metrics.linger_seconds``, so that a scrape sees them.

        Does not wait if nobody scrapes, and after a stop only within the grace period.
        """
        seconds = min(self._spec.metrics.linger_seconds, self.seconds_left() - EXIT_SECONDS)
        if self.server and seconds > 0 and self.server.was_scraped(SCRAPED_SECONDS):
            fields = {"seconds": round(seconds, 1)}
            log.info("metrics stay for a last scrape", extra={"fields": fields})
            time.sleep(seconds)

    def count_hang(self) -> None:
        """Count the hang that is about to end this process."""
        self._metrics.hung(self._num_hangs + 1)


class HistoryListener(Listener):
    """Feeds the run's history, on the chief."""

    def __init__(self, history: History, spec: RunSpec):
        self._history, self._columns = history, spec.samples.columns

    def on_report(self, report: StepReport, num_steps: int) -> None:
        self._history.observe(report, num_steps)

    def on_grid(self, step: int, images: np.ndarray) -> None:
        rows, columns = len(images) // self._columns, self._columns
        self._history.grid(step, lambda: png_bytes(image_grid(images, rows, columns)))

    def on_scores(self, step: int, scores: dict[str, float]) -> None:
        self._history.status.score(step, scores["frechet_distance"])

    def on_rollback(self) -> None:
        self._history.status.rolled_back()


class WatchdogListener(Listener):
    """Resets the watchdog at every phase: none may take longer than its limit."""

    def __init__(self, watchdog: Watchdog):
        self._watchdog = watchdog

    def on_phase(self, phase: Phase) -> None:
        self._watchdog.beat(phase)


class LogListener(Listener):
    """Logs scores, and committed and skipped checkpoints."""

    def on_scores(self, step: int, scores: dict[str, float]) -> None:
        fields = {name: round(value, 4) for name, value in scores.items()}
        log.info("scored", extra={"fields": fields})

    def on_save_event(self, event: SaveEvent) -> None:
        if event.outcome == "skipped":
            log.warning("checkpoint of step %d skipped: %s", event.step, event.reason)
        elif event.outcome == "committed":
            fields = {"step": event.step, "seconds": round(event.seconds, 3)}
            log.info("checkpoint committed", extra={"fields": fields})


@contextmanager
def worker_telemetry(
    spec: RunSpec,
    topology: Topology,
    index: Index,
    driver: Driver,
    write_hang: Callable[[str], None],
    *,
    target_world_size: int,
    num_hangs: int,
    records: Records | None = None,
    store: ObjectStore | None = None,
) -> Iterator[tuple[Listeners, StreamMetrics]]:
    """Start this worker's telemetry; yield all its listeners and the metrics of its reader.

    ``target_world_size`` is the configured number of workers; ``spec`` has the actual one. The run
    folder holds ``num_hangs`` hangs; ``write_hang`` adds one before a hung process is ended. With
    the run folder's ``store`` the chief's progress goes to the tracking service of ``spec``.
    """
    metrics = MetricsListener(
        spec, topology, index, target_world_size=target_world_size, num_hangs=num_hangs
    )

    def on_hang(hang: Hang) -> None:
        metrics.count_hang()
        end_process(hang, topology.rank, write_hang)

    history = None
    if records and topology.is_chief:
        read_values = partial(current_values, metrics.registry)
        history = History(
            records.writer,
            records.start,
            read_values,
            spec.history.every_seconds,
            on_goodput=metrics.set_goodput,
        )
    watchdog = Watchdog(_limits(spec.watchdog), on_hang, name=f"worker {topology.rank}")
    with metrics.serving() as url:
        if url:
            driver.on_note(f"metrics of worker {topology.rank}: {url}")
        if url and history:
            history.status.metrics_url(url)
        tracked_store = store if topology.is_chief else None
        with (
            tracking(spec, index, tracked_store, metrics.seconds_left) as tracked,
            # Before the tracker, which may wait for its service until the process is ended.
            closing(history) if history else nullcontext(),
            watchdog,
        ):
            # Metrics before the history and the bar, which a scrape must not lag behind. The
            # tracker only queues: it sends its last records while the metrics stay for a scrape.
            listeners = [WatchdogListener(watchdog), *tracked, metrics, LogListener(), driver]
            if history:
                listeners.insert(-2, HistoryListener(history, spec))
            yield Listeners(*listeners), metrics.streaming


def _limits(spec: WatchdogSpec) -> dict[Phase, float]:
    """Return the limit of each phase in seconds."""
    return {
        "start": spec.start_seconds,
        "compile": spec.start_seconds,
        "train": spec.train_seconds,
        "sample": spec.train_seconds,
        "score": spec.train_seconds,
        "checkpoint": spec.checkpoint_seconds,
    }


def _address(host: str) -> str:
    """Return the address to scrape.

    For a server on all addresses that is this machine's as others see it, or loopback.
    """
    if host not in ("", "0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
