"""A worker's own telemetry: its Prometheus server and logs, fed with what is then passed on to whoever watches the run."""

import logging
import socket
from types import TracebackType

from job.config.spec import RunSpec
from job.data.index import Index
from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.report import Progress
from job.telemetry.server import MetricsServer
from job.telemetry.stream_metrics import StreamMetrics
from job.training.topology import Listener, Topology
from job.training.versions import versions

log = logging.getLogger("dcgan.training")


class Observer:
    """A ``Listener`` that keeps this worker's metrics and forwards everything; ``streaming`` is the reader's. A context manager."""

    def __init__(self, spec: RunSpec, topology: Topology, index: Index, listener: Listener):
        self._listener = listener
        self._metrics = WorkerMetrics(run_name(spec), topology.rank)
        self.streaming = StreamMetrics(run_name(spec), topology.rank, self._metrics.registry, RETRIES)
        self._metrics.build_info(versions()["dcgan-train"], spec.preset or "none", index.fingerprint[:16])
        port = spec.metrics.port + topology.local_rank if spec.metrics.port else 0
        self._server = MetricsServer(self._metrics.registry, port) if spec.metrics.enabled else None
        self._topology = topology

    def __enter__(self) -> "Observer":
        if self._server:
            self._server.start()
            self.note(f"metrics of worker {self._topology.rank}: http://{_host_address()}:{self._server.port}/metrics")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server:
            self._server.close()

    def progress(self, progress: Progress, num_steps: int) -> None:
        """Metrics first, so that a scrape never lags behind what the bar shows."""
        if progress.phase == "checkpoint" and progress.checkpoint_step is not None:
            self._metrics.checkpoint(progress.checkpoint_step, progress.checkpoint_seconds or 0.0, "committed")
            log.info("checkpoint committed", extra={"fields": {"step": progress.step, "seconds": progress.checkpoint_seconds}})
        if num_steps:
            self._metrics.observe(progress, num_steps)
        self._listener.progress(progress, num_steps)

    def note(self, text: str) -> None:
        """Passed on."""
        self._listener.note(text)


def run_name(spec: RunSpec) -> str:
    """The run folder's own name: the label ``run`` of every metric."""
    return spec.uri.rstrip("/").rpartition("/")[2] or "run"


def _host_address() -> str:
    """This machine's address as others see it, or the loopback address where it has no name."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
