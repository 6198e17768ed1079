"""A worker's own telemetry: its Prometheus server and logs, fed with what is then passed on to whoever watches the run."""

import logging
import socket
from collections.abc import Callable
from functools import partial
from types import TracebackType

from job.checkpoints.saver import Event
from job.config.spec import RunSpec, WatchdogSpec
from job.data.index import Index
from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.report import Phase, Progress
from job.telemetry.server import MetricsServer
from job.telemetry.stream_metrics import StreamMetrics
from job.telemetry.watchdog import Watchdog, end_process
from job.training.topology import Listener, Topology, Wanted
from job.training.versions import versions

log = logging.getLogger("dcgan.training")


class Observer:
    """A ``Listener`` that keeps this worker's metrics and forwards everything; ``streaming`` is the reader's. A context manager."""

    def __init__(self, spec: RunSpec, topology: Topology, index: Index, listener: Listener, write_hang: Callable[[str], None]):
        """``write_hang`` puts a text into the run folder before a hung process is ended."""
        self._listener = listener
        self._metrics = WorkerMetrics(run_name(spec), topology.rank)
        self.streaming = StreamMetrics(run_name(spec), topology.rank, self._metrics.registry, RETRIES)
        self._metrics.build_info(versions()["dcgan-train"], spec.preset or "none", index.fingerprint[:16])
        port = spec.metrics.port + topology.local_rank if spec.metrics.port else 0
        self._server = MetricsServer(self._metrics.registry, port) if spec.metrics.enabled else None
        self._topology = topology
        self._watchdog = Watchdog(
            _limits(spec.watchdog), partial(end_process, rank=topology.rank, write=write_hang), name=f"worker {topology.rank}"
        )

    def __enter__(self) -> "Observer":
        if self._server:
            self._server.start()
            self.note(f"metrics of worker {self._topology.rank}: http://{_host_address()}:{self._server.port}/metrics")
        self._watchdog.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watchdog.__exit__(kind, error, trace)
        if self._server:
            self._server.close()

    def progress(self, progress: Progress, num_steps: int) -> None:
        """Metrics first, so that a scrape never lags behind what the bar shows."""
        if num_steps:
            self._metrics.observe(progress, num_steps)
        self.enter("train" if num_steps else progress.phase)
        self._listener.progress(progress, num_steps)

    def enter(self, phase: Phase) -> None:
        """Something finished, and what begins now is ``phase``: it must not take longer than the watchdog allows."""
        self._watchdog.beat(phase)

    def saved(self, event: Event) -> None:
        """What became of a save, on the chief."""
        self._metrics.checkpoint(event.step, event.seconds, event.outcome, event.num_bytes)
        if event.outcome == "skipped":
            log.warning("checkpoint of step %d skipped: %s", event.step, event.reason)
        elif event.outcome == "committed":
            log.info("checkpoint committed", extra={"fields": {"step": event.step, "seconds": round(event.seconds, 3)}})

    def rolled_back(self) -> None:
        """The run went back to a checkpoint."""
        self._metrics.rolled_back()

    def held(self, seconds: float) -> None:
        """How long a save kept the training thread."""
        self._metrics.checkpoint_held(seconds)

    def note(self, text: str) -> None:
        """Passed on."""
        self._listener.note(text)

    def wanted(self) -> Wanted:
        """What is asked from outside."""
        return self._listener.wanted()


def _limits(spec: WatchdogSpec) -> dict[Phase, float]:
    """Phases of the loop by their limits in seconds."""
    return {
        "start": spec.start_seconds,
        "compile": spec.start_seconds,
        "train": spec.train_seconds,
        "sample": spec.train_seconds,
        "checkpoint": spec.checkpoint_seconds,
    }


def run_name(spec: RunSpec) -> str:
    """The run folder's own name: the label ``run`` of every metric."""
    return spec.uri.rstrip("/").rpartition("/")[2] or "run"


def _host_address() -> str:
    """This machine's address as others see it, or the loopback address where it has no name."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
