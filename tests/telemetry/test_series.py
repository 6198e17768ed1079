"""The values of a registry for the metric rows of a run."""

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector

from job.telemetry.instruments import Instruments
from job.telemetry.series import PROCESS_MEMORY, current_values


def test_values_have_the_names_of_their_series() -> None:
    registry = CollectorRegistry()
    instruments = Instruments("garments", 0, registry)
    instruments.gauge("dcgan_step", "Step.").set(1200)
    outcomes = instruments.counters("dcgan_checkpoints", "Saves.", "outcome", ("failed", "skipped"))
    outcomes["failed"].inc()
    instruments.histogram("dcgan_step_seconds", "Seconds.", (1.0,)).observe(0.5)
    instruments.counter("dcgan_steps", "Steps.")
    Info("dcgan_build", "Build.", registry=registry).info({"version": "1"})
    assert current_values(registry) == {
        "dcgan_step": 1200.0,
        'dcgan_checkpoints_total{outcome="failed"}': 1.0,  # not the one that is 0
        "dcgan_step_seconds_count": 1.0,
        "dcgan_step_seconds_sum": 0.5,
        "dcgan_steps_total": 0.0,
    }


def test_of_the_process_only_its_memory_is_kept() -> None:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Gauge("other_bytes", "Other.", registry=registry).set(1)
    assert list(current_values(registry)) == [PROCESS_MEMORY, "other_bytes"]
    assert 1e6 < current_values(registry)[PROCESS_MEMORY] < 1e11
