"""The Prometheus metrics of a worker's data streaming: fetches, cache and fetch-ahead."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from job.telemetry.instruments import Instruments

FETCH_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class StreamMetrics:
    """A ``job.streaming.events.StreamListener`` that counts; all 0 for data on a local disk.

    ``reasons`` are the reasons for which a fetch may be retried.
    """

    def __init__(
        self, run: str, rank: int, registry: CollectorRegistry, reasons: Sequence[str]
    ) -> None:
        new = Instruments(run, rank, registry)
        self._requests = new.counter(
            "dcgan_fetch_requests_total", "Requests for image data sent to the object store."
        )
        self._bytes = new.counter(
            "dcgan_fetch_bytes_total",
            "Bytes of image data received from the object store, including retries.",
        )
        self._retries = new.counters(
            "dcgan_fetch_retries_total",
            "Fetches of image data retried, by reason.",
            "reason",
            reasons,
        )
        self._seconds = new.histogram(
            "dcgan_fetch_seconds",
            "Time from asking for a shard to its verified copy in the cache, including retries.",
            FETCH_BUCKETS_SECONDS,
        )
        self._hits = new.counter(
            "dcgan_cache_hits_total", "Shards that were in the cache when they were needed."
        )
        self._misses = new.counter(
            "dcgan_cache_misses_total", "Shards that were fetched into the cache and verified."
        )
        self._cache_bytes = new.gauge(
            "dcgan_cache_bytes",
            "Size of the cache folder on this worker's disk, shared by the workers there.",
        )
        self._ahead = new.gauge(
            "dcgan_fetch_ahead_batches", "Next global batches whose shards are all in the cache."
        )

    def requested(self) -> None:
        """Count a request."""
        self._requests.inc()

    def received(self, num_bytes: int) -> None:
        """Count received bytes."""
        self._bytes.inc(num_bytes)

    def retried(self, reason: str) -> None:
        """Count a retry."""
        self._retries[reason].inc()

    def fetched(self, seconds: float) -> None:
        """Count a fetched shard."""
        self._misses.inc()
        self._seconds.observe(seconds)

    def found(self) -> None:
        """Count a shard that was in the cache."""
        self._hits.inc()

    def cache_holds(self, num_bytes: int) -> None:
        """Set the size of the cache."""
        self._cache_bytes.set(num_bytes)

    def ahead(self, num_batches: int) -> None:
        """Set how many batches are fetched ahead."""
        self._ahead.set(num_batches)
