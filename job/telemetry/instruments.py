"""Declare the Prometheus metrics of one worker, all with the labels ``run`` and ``rank``.

Counters and histograms exist from the start, at 0, so that ``rate()`` sees the first event.
"""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

LABELS = ("run", "rank")

# Prometheus does not use the `_created` series of counters and histograms, but would store them.
disable_created_metrics()


class Instruments:
    """Declares metrics of rank ``rank`` of ``run`` in ``registry``."""

    def __init__(self, run: str, rank: int, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.labels = {"run": run, "rank": str(rank)}

    def counter(self, name: str, meaning: str) -> Counter:
        """Return a counter."""
        return Counter(name, meaning, LABELS, registry=self.registry).labels(**self.labels)

    def counters(
        self, name: str, meaning: str, label: str, values: Iterable[str]
    ) -> dict[str, Counter]:
        """Return a counter for each value of a further label."""
        family = Counter(name, meaning, (*LABELS, label), registry=self.registry)
        return {value: family.labels(**self.labels, **{label: value}) for value in values}

    def histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        """Return a histogram."""
        family = Histogram(name, meaning, LABELS, buckets=buckets, registry=self.registry)
        return family.labels(**self.labels)

    def gauge(self, name: str, meaning: str) -> Gauge:
        """Return a gauge that is 0 until it is set."""
        return Gauge(name, meaning, LABELS, registry=self.registry).labels(**self.labels)

    def setter(self, name: str, meaning: str) -> Callable[[float], None]:
        """Return a function that sets a gauge, which does not exist before its first call."""
        family = Gauge(name, meaning, LABELS, registry=self.registry)
        return lambda value: family.labels(**self.labels).set(value)

    def total(self, name: str, meaning: str) -> Callable[[int], None]:
        """Return a function that raises a counter, which does not exist before its first call.

        For counts of a whole run: in a restarted process 0 and then 2 would read as two new events.
        """
        family, counted = Counter(name, meaning, LABELS, registry=self.registry), 0

        def raise_to(number: int) -> None:
            nonlocal counted
            family.labels(**self.labels).inc(max(0, number - counted))
            counted = max(counted, number)

        return raise_to
