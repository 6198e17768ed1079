"""A worker's own telemetry: its Prometheus server and logs, fed with what is then passed on to whoever watches the run."""

import logging
import math
import socket
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

import numpy as np

from job.checkpoints.saver import REFUSED, Event
from job.config.spec import RunSpec, WatchdogSpec
from job.config.versions import versions
from job.data.index import Index
from job.images.diversity import diversity
from job.images.grids import image_grid, png_bytes
from job.run.history import History
from job.run.layout import run_name
from job.run.process_records import Records
from job.storage.store import REASONS
from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.series import current_values
from job.telemetry.server import DEFAULT_PORT, MetricsServer
from job.telemetry.step_report import Phase, StepReport
from job.telemetry.stream_metrics import StreamMetrics
from job.telemetry.watchdog import Hang, Watchdog, end_process
from job.training.topology import Listener, Requests, Topology

log = logging.getLogger("dcgan.training")

LEAVING_SECONDS = 5.0  # of the grace after a stop, for what comes after the metrics
SCRAPED_SECONDS = 300.0  # longer than any usual scrape interval
MAX_COMPARED = 256  # images of the data set, for their diversity


class Observer:
    """A ``Listener`` that keeps this worker's metrics and forwards everything; ``streaming`` is the reader's. A context manager.

    ``spec`` is that of the workers there are; ``target_world_size`` is how many were wanted. ``num_hangs`` are written down in the run folder, and
    ``write_hang`` puts one more there before a hung process is ended.
    """

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        index: Index,
        listener: Listener,
        write_hang: Callable[[str], None],
        *,
        target_world_size: int,
        num_hangs: int,
        records: Records | None = None,
    ):
        self._listener = listener
        self._linger_seconds, self._grace_seconds = (
            spec.metrics.linger_seconds,
            spec.checkpoints.grace_seconds,
        )
        self._leave_at = math.inf
        self._num_hangs = num_hangs
        self._wanted = Requests()
        self._metrics = WorkerMetrics(
            run_name(spec.uri), topology.rank, save_reasons=(*REASONS, REFUSED)
        )
        self._metrics.world(topology.world_size, target_world_size, topology.restarts)
        self._metrics.checkpoints.every(spec.checkpoints.every_steps)
        self._metrics.hung(num_hangs)
        self.streaming = StreamMetrics(
            run_name(spec.uri), topology.rank, self._metrics.registry, RETRIES
        )
        self._metrics.build_info(
            versions()["dcgan-train"], spec.preset or "none", index.fingerprint[:16]
        )
        first_port = DEFAULT_PORT if spec.metrics.port is None else spec.metrics.port
        port = first_port + topology.local_rank if first_port else 0
        is_strict = spec.metrics.port is not None
        self._host = spec.metrics.host or ""
        self._server = (
            MetricsServer(self._metrics.registry, port, self._host, or_any=not is_strict)
            if spec.metrics.enabled
            else None
        )
        self._topology = topology
        self._grid_size = spec.samples.rows, spec.samples.columns
        self._history = (
            self._new_history(records, spec.history.every_seconds)
            if records and topology.is_chief
            else None
        )
        end = partial(end_process, rank=topology.rank, write=write_hang)
        self._watchdog = Watchdog(
            _limits(spec.watchdog),
            lambda hang: self._hung(hang, end),
            name=f"worker {topology.rank}",
        )

    def __enter__(self) -> "Observer":
        if self._server:
            self._server.start()
            url = f"http://{_address(self._host)}:{self._server.port}/metrics"
            self.note(f"metrics of worker {self._topology.rank}: {url}")
            if self._history:
                self._history.metrics_url(url)
        self._watchdog.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watchdog.__exit__(kind, error, trace)
        if self._history:
            self._history.close()
        if self._server:
            self._server.close()

    def progress(self, progress: StepReport, num_steps: int) -> None:
        """Metrics first, so that a scrape never lags behind what the bar shows."""
        if num_steps:
            self._metrics.observe(progress, num_steps)
        self.enter("train" if num_steps else progress.phase)
        if self._history:
            self._history.observe(progress, num_steps)
        self._listener.progress(progress, num_steps)

    def enter(self, phase: Phase) -> None:
        """Something finished, and what begins now is ``phase``: it must not take longer than the watchdog allows."""
        self._watchdog.beat(phase)
        self._metrics.enter(phase)

    def first_images(self, images: np.ndarray) -> None:
        """Real images ``[B, H, W, C]``, uint8: what generated ones are to be compared with."""
        if len(images) > 1:
            self._metrics.data_diversity(diversity(images[:MAX_COMPARED]))

    def sampled(self, step: int, images: np.ndarray) -> None:
        """A grid was made, on the chief; that of step 0 is of an untrained generator and says nothing."""
        if step and len(images) > 1:
            self._metrics.sampled(diversity(images))
        if self._history:
            self._history.grid(step, lambda: png_bytes(image_grid(images, *self._grid_size)))

    def saved(self, event: Event) -> None:
        """What became of a save, on the chief."""
        self._metrics.checkpoints.ended(
            event.step,
            event.seconds,
            event.outcome,
            event.num_bytes,
            stages=event.stages,
            reason=event.reason,
        )
        if event.outcome == "skipped":
            log.warning("checkpoint of step %d skipped: %s", event.step, event.reason)
        elif event.outcome == "committed":
            log.info(
                "checkpoint committed",
                extra={"fields": {"step": event.step, "seconds": round(event.seconds, 3)}},
            )

    def not_finite(self) -> None:
        """A loss or a norm of the last call was NaN or infinite."""
        self._metrics.not_finite()

    def resumed(self, step: int) -> None:
        """The checkpoint of ``step`` stands in the run folder, and is where this start begins."""
        self._metrics.checkpoints.seen(step, fresh=False)

    def rolled_back(self) -> None:
        """The run went back to a checkpoint."""
        self._metrics.rolled_back()
        if self._history:
            self._history.rolled_back()

    def held(self, seconds: float) -> None:
        """How long a save kept the training thread."""
        self._metrics.checkpoints.held(seconds)

    def note(self, text: str) -> None:
        """Passed on."""
        self._listener.note(text)

    def wanted(self) -> Requests:
        """What is asked from outside."""
        before, self._wanted = self._wanted, self._listener.wanted()
        if self._wanted.save and not before.save:
            self._metrics.preempted("node")
        if self._wanted.stop and not before.stop:
            self._metrics.preempted("stop")
            self._leave_at = time.monotonic() + self._grace_seconds - LEAVING_SECONDS
        return self._wanted

    def linger(self) -> None:
        """Serve the last values for ``metrics.linger_seconds``, so that a scrape sees them. For when everything is saved.

        Not where nobody scrapes, and after a stop no longer than there is time.
        """
        seconds = min(self._linger_seconds, self._leave_at - time.monotonic())
        if self._server and seconds > 0 and self._server.was_scraped(SCRAPED_SECONDS):
            log.info(
                "metrics stay for a last scrape", extra={"fields": {"seconds": round(seconds, 1)}}
            )
            time.sleep(seconds)

    def _new_history(self, records: Records, every_seconds: float) -> History:
        return History(
            records.writer,
            records.start,
            partial(current_values, self._metrics.registry),
            every_seconds,
        )

    def _hung(self, hang: Hang, end: Callable[[Hang], None]) -> None:
        self._metrics.hung(self._num_hangs + 1)
        end(hang)


def _limits(spec: WatchdogSpec) -> dict[Phase, float]:
    """Phases of the loop by their limits in seconds."""
    return {
        "start": spec.start_seconds,
        "compile": spec.start_seconds,
        "train": spec.train_seconds,
        "sample": spec.train_seconds,
        "checkpoint": spec.checkpoint_seconds,
    }


def _address(host: str) -> str:
    """Return the address to scrape: ``host``, or for a server on every address this machine's as others see it (loopback if it has no name)."""
    if host not in ("", "0.0.0.0", "::"):
        return f"[{host}]" if ":" in host else host
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
