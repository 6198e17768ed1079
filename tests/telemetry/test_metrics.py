"""The metrics of a worker: what a report moves, and that docs/metrics.md lists exactly these."""

import re
from pathlib import Path

import pytest
from prometheus_client import Metric

from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.stream_metrics import StreamMetrics
from tests.telemetry.step_reports import report

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
LABELS = {"run": "garments", "rank": "3"}


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> WorkerMetrics:
    """All metrics of a worker, in one registry."""
    metrics = WorkerMetrics("garments", rank=3, clock=clock, save_reasons=("timeout", "refused"))
    StreamMetrics("garments", 3, metrics.registry, RETRIES)
    return metrics


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, LABELS | labels)


def fill(metrics: WorkerMetrics) -> None:
    """Set every series."""
    metrics.observe(report(), num_steps=1)
    metrics.build_info("0.1.0", "fashion", "sha256:1f")
    metrics.world(2, target_size=2, restarts=0)
    metrics.checkpoints.every(500)
    metrics.hung(0)
    metrics.sampled(0.1)
    metrics.goodput(0.9)
    metrics.data_diversity(0.2)
    metrics.scored(
        {
            "frechet_distance": 12.5,
            "best_frechet_distance": 11.5,
            "kernel_distance": 0.5,
            "kernel_error": 0.25,
            "precision": 0.75,
            "recall": 0.7,
            "density": 1.1,
            "coverage": 0.9,
        }
    )


def exposed_name(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def test_the_documentation_lists_every_metric_and_no_other(metrics: WorkerMetrics) -> None:
    fill(metrics)
    families = [family for family in metrics.registry.collect() if family.name.startswith("dcgan_")]
    known = {}
    for family in families:
        labels = {label for sample in family.samples for label in sample.labels} - {
            "run",
            "rank",
            "le",
        }
        known[exposed_name(family)] = (family.type, labels, family.documentation)
    rows = re.findall(
        r"^\| `(dcgan_\w+)` \| (\w+) \| (.*?) ?\| (.*?) ?\| (.+) \|$",
        DOCS.read_text(),
        re.MULTILINE,
    )
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, _, meaning in rows
    }
    assert documented == known
    assert {name for name, _, _, unit, _ in rows if unit == "seconds"} == {
        name for name in known if "_seconds" in name
    }
    assert [name for name, *_ in rows if DOCS.read_text().count(f"| `{name}` |") != 1] == []


def test_every_series_has_run_and_rank(metrics: WorkerMetrics) -> None:
    fill(metrics)
    samples = [
        sample
        for family in metrics.registry.collect()
        if family.name.startswith("dcgan_")
        for sample in family.samples
    ]
    assert len(samples) > 20
    assert all(LABELS.items() <= sample.labels.items() for sample in samples)


def test_a_report_sets_the_gauges(metrics: WorkerMetrics) -> None:
    metrics.observe(report(), num_steps=20)
    assert {
        name: value(metrics, f"dcgan_{name}")
        for name in ("step", "target_steps", "epoch", "images_per_second", "world_size")
    } == {
        "step": 1240,
        "target_steps": 18750,
        "epoch": 0.66,
        "images_per_second": 1810.4,
        "world_size": 2,
    }
    losses = [
        value(metrics, f"dcgan_{name}")
        for name in (
            "discriminator_loss",
            "generator_loss",
            "real_probability",
            "fake_probability",
            "discriminator_accuracy",
        )
    ]
    assert losses == [0.512, 1.2341, 0.71, 0.24, 0.83]


def test_a_report_counts_the_steps_since_the_one_before(metrics: WorkerMetrics) -> None:
    metrics.observe(report(step=1240, images=1240 * 32), num_steps=20)
    metrics.observe(report(step=1250, images=1250 * 32), num_steps=10)
    assert value(metrics, "dcgan_steps_total") == 30
    assert value(metrics, "dcgan_images_total") == 30 * 32
    assert value(metrics, "dcgan_data_wait_seconds_total") == pytest.approx(30 * 0.0005)
    assert value(metrics, "dcgan_step_seconds_count") == 30
    assert value(metrics, "dcgan_step_seconds_sum") == pytest.approx(30 * 0.0176)
    assert value(metrics, "dcgan_step_seconds_bucket", le="0.01") == 0
    assert value(metrics, "dcgan_step_seconds_bucket", le="0.025") == 30


def test_before_the_first_report_counters_are_zero_and_no_loss_is_claimed(
    metrics: WorkerMetrics,
) -> None:
    assert [
        value(metrics, f"dcgan_{name}_total")
        for name in ("steps", "images", "data_wait_seconds", "non_finite")
    ] == [0, 0, 0, 0]
    assert value(metrics, "dcgan_checkpoints_total", outcome="failed") == 0
    assert value(metrics, "dcgan_checkpoint_last_step") == 0
    assert value(metrics, "dcgan_generator_loss") is None


def test_a_report_of_no_steps_moves_only_gauges(metrics: WorkerMetrics) -> None:
    metrics.observe(report(step=0, images=0, phase="compile"), num_steps=0)
    assert value(metrics, "dcgan_step") == 0
    assert value(metrics, "dcgan_steps_total") == 0


def test_restarts_are_absent_until_the_true_number_is_known(metrics: WorkerMetrics) -> None:
    """A series that goes 0, 2 in a restarted process would be read as two more restarts."""
    assert value(metrics, "dcgan_restarts_total") is None
    for _ in range(3):
        metrics.observe(report(restarts=2), num_steps=1)
    assert value(metrics, "dcgan_restarts_total") == 2
    metrics.observe(report(restarts=3), num_steps=1)
    assert value(metrics, "dcgan_restarts_total") == 3


def test_non_finite_calls_are_counted(metrics: WorkerMetrics) -> None:
    assert value(metrics, "dcgan_non_finite_total") == 0
    metrics.not_finite()
    assert value(metrics, "dcgan_non_finite_total") == 1


def test_the_parts_add_up_to_the_step(metrics: WorkerMetrics) -> None:
    metrics.observe(report(), num_steps=20)
    split = [
        value(metrics, f"dcgan_{part}_seconds_total") for part in ("data_wait", "compute", "sync")
    ]
    assert sum(part or 0 for part in split) == pytest.approx(
        value(metrics, "dcgan_step_seconds_sum")
    )


def test_the_time_left_is_absent_while_there_is_no_speed(metrics: WorkerMetrics) -> None:
    metrics.observe(report(images_per_second=0.0), num_steps=1)
    assert value(metrics, "dcgan_remaining_seconds") is None
    metrics.observe(
        report(step=100, total_steps=300, images=3200, images_per_second=64.0), num_steps=1
    )
    assert value(metrics, "dcgan_remaining_seconds") == 100.0


def test_hangs_and_target_workers_are_of_the_whole_run(metrics: WorkerMetrics) -> None:
    assert value(metrics, "dcgan_hangs_total") is None
    metrics.hung(2)
    metrics.hung(3)
    metrics.world(2, target_size=4, restarts=1)
    names = ("hangs_total", "world_size", "target_world_size", "restarts_total")
    assert [value(metrics, f"dcgan_{name}") for name in names] == [3, 2, 4, 1]


def test_the_build_has_its_labels(metrics: WorkerMetrics) -> None:
    metrics.build_info("0.1.0", "fashion", "sha256:1f")
    assert (
        value(
            metrics,
            "dcgan_build_info",
            version="0.1.0",
            preset="fashion",
            data_fingerprint="sha256:1f",
        )
        == 1
    )


def test_no_series_for_creation_times(metrics: WorkerMetrics) -> None:
    names = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    assert not [name for name in names if name.endswith("_created")]
