"""The phase of a worker and its time in each, for Prometheus; computed at each scrape.

A counter that moved only at the end of a phase would show a start of 30 s in a single moment.
"""

import threading
from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from job.telemetry.instruments import Instruments
from job.telemetry.step_report import PHASES, Phase


class PhaseMetrics(Collector):
    """Phases of a worker; all are 0 before the first. ``clock`` is in seconds."""

    def __init__(self, new: Instruments, clock: Callable[[], float]) -> None:
        self._labels, self._clock = new.labels, clock
        self._lock = threading.Lock()
        self._present: Phase | None = None
        self._since = clock()
        self._seconds = dict.fromkeys(PHASES, 0.0)
        new.registry.register(self)

    def enter(self, phase: Phase) -> None:
        """Enter ``phase``."""
        with self._lock:
            self._count()
            self._present = phase

    def collect(self) -> Iterator[Metric]:
        """Yield both metrics; called at each scrape."""
        with self._lock:
            self._count()
            present, seconds = self._present, dict(self._seconds)
        names = (*self._labels, "phase")
        now = GaugeMetricFamily(
            "dcgan_phase", "1 for the present phase of this worker, 0 for the others.", labels=names
        )
        spent = CounterMetricFamily(
            "dcgan_phase_seconds", "Time that this process spent in each phase.", labels=names
        )
        for phase in PHASES:
            now.add_metric((*self._labels.values(), phase), float(phase == present))
            spent.add_metric((*self._labels.values(), phase), seconds[phase])
        yield now
        yield spent

    def _count(self) -> None:
        now = self._clock()
        if self._present is not None:
            self._seconds[self._present] += now - self._since
        self._since = now
