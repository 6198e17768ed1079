"""Metrics of one worker: counters that start at 0, values that are absent until they are known."""

import pytest
from prometheus_client import CollectorRegistry

from job.telemetry.instruments import Instruments

LABELS = {"run": "garments", "rank": "3"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def instruments(registry: CollectorRegistry) -> Instruments:
    return Instruments("garments", 3, registry)


def test_counters_and_histograms_are_0_from_the_start(
    registry: CollectorRegistry, instruments: Instruments
) -> None:
    instruments.counter("steps", "Steps.")
    failures = instruments.counters("failures", "Failures.", "reason", ("timeout", "refused"))
    instruments.histogram("seconds", "Seconds.", (1.0, 2.0)).observe(1.5)
    failures["timeout"].inc()
    assert registry.get_sample_value("steps_total", LABELS) == 0
    assert registry.get_sample_value("failures_total", LABELS | {"reason": "refused"}) == 0
    assert registry.get_sample_value("failures_total", LABELS | {"reason": "timeout"}) == 1
    buckets = [
        registry.get_sample_value("seconds_bucket", LABELS | {"le": bound})
        for bound in ("1.0", "2.0")
    ]
    assert buckets == [0, 1]


def test_a_value_that_is_not_known_yet_is_absent(
    registry: CollectorRegistry, instruments: Instruments
) -> None:
    instruments.gauge("workers", "Workers.")
    set_loss = instruments.setter("loss", "Loss.")
    assert registry.get_sample_value("workers", LABELS) == 0
    assert registry.get_sample_value("loss", LABELS) is None
    set_loss(0.5)
    assert registry.get_sample_value("loss", LABELS) == 0.5


def test_a_total_of_a_run_never_falls(
    registry: CollectorRegistry, instruments: Instruments
) -> None:
    raise_to = instruments.total("restarts", "Restarts.")
    assert registry.get_sample_value("restarts_total", LABELS) is None
    for number, expected in ((2, 2), (1, 2), (5, 5)):
        raise_to(number)
        assert registry.get_sample_value("restarts_total", LABELS) == expected
