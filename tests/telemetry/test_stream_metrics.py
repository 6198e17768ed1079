"""Events of streaming move the metrics."""

import pytest
from prometheus_client import CollectorRegistry

from job.streaming.events import RETRIES, StreamListener
from job.telemetry.stream_metrics import StreamMetrics

LABELS = {"run": "garments", "rank": "3"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> StreamListener:
    """The annotation lets mypy check that the metrics are a listener."""
    return StreamMetrics("garments", 3, registry, RETRIES)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, LABELS | labels)


def test_every_series_is_0_at_the_start(
    registry: CollectorRegistry, metrics: StreamListener
) -> None:
    assert {value(registry, "dcgan_fetch_retries_total", reason=reason) for reason in RETRIES} == {
        0
    }
    names = (
        "fetch_requests_total",
        "fetch_bytes_total",
        "fetch_seconds_count",
        "cache_hits_total",
        "cache_misses_total",
        "cache_bytes",
    )
    assert {value(registry, f"dcgan_{name}") for name in (*names, "fetch_ahead_batches")} == {0}


def test_each_event_moves_its_metric(registry: CollectorRegistry, metrics: StreamListener) -> None:
    for _ in range(3):
        metrics.requested()
    metrics.received(1000)
    metrics.received(24)
    metrics.retried("throttled")
    metrics.retried("corrupt")
    metrics.retried("corrupt")
    metrics.fetched(0.3)
    metrics.found()
    metrics.found()
    metrics.cache_holds(5000)
    metrics.cache_holds(4000)
    metrics.ahead(37)
    assert value(registry, "dcgan_fetch_requests_total") == 3
    assert value(registry, "dcgan_fetch_bytes_total") == 1024
    assert value(registry, "dcgan_fetch_retries_total", reason="throttled") == 1
    assert value(registry, "dcgan_fetch_retries_total", reason="corrupt") == 2
    assert value(registry, "dcgan_fetch_retries_total", reason="timeout") == 0
    assert (
        value(registry, "dcgan_cache_misses_total"),
        value(registry, "dcgan_fetch_seconds_sum"),
    ) == (1, 0.3)
    assert value(registry, "dcgan_cache_hits_total") == 2
    assert value(registry, "dcgan_cache_bytes") == 4000
    assert value(registry, "dcgan_fetch_ahead_batches") == 37
