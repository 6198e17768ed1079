"""The Prometheus instruments of one worker's data streaming: what the store gave, what the cache had, how far ahead the reader is covered.

Knows no store; it is told. All counters are there from the start, at 0, so that ``rate()`` sees the first event.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from job.telemetry.metrics import LABELS

FETCH_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class StreamMetrics:
    """Streaming of one worker of ``run``, in ``registry``; ``reasons`` are those for which something may be fetched again.

    Its methods are those of ``job.streaming.events.StreamListener``. For data on a local disk everything stays at 0.
    """

    def __init__(
        self, run: str, rank: int, registry: CollectorRegistry, reasons: Sequence[str]
    ) -> None:
        labels = {"run": run, "rank": str(rank)}

        def counter(name: str, meaning: str) -> Counter:
            return Counter(name, meaning, LABELS, registry=registry).labels(**labels)

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, LABELS, registry=registry).labels(**labels)

        self._requests = counter(
            "dcgan_fetch_requests_total", "Requests for image data sent to the object store."
        )
        self._bytes = counter(
            "dcgan_fetch_bytes_total",
            "Bytes of image data that the object store sent, repeated ones included.",
        )
        self._hits = counter(
            "dcgan_cache_hits_total", "Shards that were in the cache when they were asked for."
        )
        self._misses = counter(
            "dcgan_cache_misses_total", "Shards that were fetched into the cache and verified."
        )
        self._cache_bytes = gauge(
            "dcgan_cache_bytes",
            "Bytes that the cache folder takes on this worker's disk, shared by the workers there.",
        )
        self._ahead = gauge(
            "dcgan_fetch_ahead_batches", "Global batches to come for which every shard is there."
        )
        retries = Counter(
            "dcgan_fetch_retries_total",
            "Image data fetched again, by what went wrong.",
            (*LABELS, "reason"),
            registry=registry,
        )
        self._retries = {reason: retries.labels(**labels, reason=reason) for reason in reasons}
        self._seconds = Histogram(
            "dcgan_fetch_seconds",
            "Time from asking for a shard to having it verified in the cache, repeated requests included.",
            LABELS,
            buckets=FETCH_BUCKETS_SECONDS,
            registry=registry,
        ).labels(**labels)

    def requested(self) -> None:
        """A request begins."""
        self._requests.inc()

    def received(self, num_bytes: int) -> None:
        """Bytes arrived."""
        self._bytes.inc(num_bytes)

    def retried(self, reason: str) -> None:
        """Something is fetched again."""
        self._retries[reason].inc()

    def fetched(self, seconds: float) -> None:
        """A shard was fetched."""
        self._misses.inc()
        self._seconds.observe(seconds)

    def found(self) -> None:
        """A shard was in the cache."""
        self._hits.inc()

    def cache_holds(self, num_bytes: int) -> None:
        """Size of the cache."""
        self._cache_bytes.set(num_bytes)

    def ahead(self, num_batches: int) -> None:
        """How far the reader is covered."""
        self._ahead.set(num_batches)
