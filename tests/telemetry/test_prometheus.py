"""A real Prometheus scrapes a worker: every documented metric and query has its value."""

import re
from pathlib import Path

import pytest

from tests.servers.prometheus import Prometheus, prometheus, wait_for
from tests.telemetry.test_metrics import DOCS
from tests.telemetry.test_server import worker

pytestmark = pytest.mark.prometheus

# After three reports of 20 steps: a checkpoint of 3 s at step 20, a failed one at step 40.
EXPECTED = {
    "dcgan_step": 60,
    "dcgan_target_steps": 18750,
    "dcgan_epoch": 0.66,
    "dcgan_steps_total": 60,
    "dcgan_images_total": 60 * 32,
    "dcgan_images_per_second": 1810.4,
    "dcgan_discriminator_loss": 0.512,
    "dcgan_generator_loss": 1.2341,
    "dcgan_real_probability": 0.71,
    "dcgan_fake_probability": 0.24,
    "dcgan_discriminator_accuracy": 0.83,
    "dcgan_step_seconds_count": 60,
    "dcgan_step_seconds_sum": 60 * 0.0176,
    'dcgan_step_seconds_bucket{le="0.01"}': 0,
    'dcgan_step_seconds_bucket{le="0.025"}': 60,
    "dcgan_data_wait_seconds_total": 60 * 0.0005,
    "dcgan_compute_seconds_total": 60 * 0.0101,
    "dcgan_discriminator_gradient_norm": 0.31,
    "dcgan_generator_gradient_norm": 0.42,
    "dcgan_rollbacks_total": 1,
    "dcgan_checkpoint_bytes_total": 5000,
    "dcgan_checkpoint_held_seconds_count": 1,
    "dcgan_checkpoint_held_seconds_sum": 0.02,
    "dcgan_checkpoint_seconds_count": 1,
    "dcgan_checkpoint_seconds_sum": 3,
    'dcgan_checkpoints_total{outcome="committed"}': 1,
    'dcgan_checkpoints_total{outcome="failed"}': 1,
    "dcgan_checkpoint_last_step": 20,
    "dcgan_restarts_total": 1,
    "dcgan_world_size": 2,
    "dcgan_non_finite_total": 1,
    "dcgan_remaining_seconds": 18690 * 32 / 1810.4,
    'dcgan_phase{phase="train"}': 1,
    'dcgan_phase{phase="start"}': 0,
    'dcgan_phase_seconds_total{phase="sample"}': 0,
    "dcgan_sync_seconds_total": 60 * 0.007,
    "dcgan_sample_diversity": 0.15,
    "dcgan_data_diversity": 0.2,
    "dcgan_quality_frechet_distance": 12.5,
    "dcgan_quality_best_frechet_distance": 11.5,
    "dcgan_quality_kernel_distance": 0.5,
    "dcgan_quality_kernel_error": 0.25,
    "dcgan_quality_precision": 0.75,
    "dcgan_quality_recall": 0.7,
    "dcgan_quality_density": 1.1,
    "dcgan_quality_coverage": 0.9,
    "dcgan_goodput_ratio": 0.9,
    'dcgan_checkpoint_stage_seconds_total{stage="pack"}': 0.5,
    'dcgan_checkpoint_stage_seconds_total{stage="upload"}': 2.0,
    'dcgan_checkpoint_stage_seconds_total{stage="commit"}': 0.25,
    'dcgan_checkpoint_failures_total{reason="timeout"}': 1,
    'dcgan_checkpoint_failures_total{reason="refused"}': 0,
    "dcgan_checkpoint_every_steps": 500,
    "dcgan_target_world_size": 4,
    'dcgan_preemptions_total{reason="node"}': 1,
    'dcgan_preemptions_total{reason="stop"}': 0,
    "dcgan_hangs_total": 1,
    "dcgan_fetch_requests_total": 3,
    "dcgan_fetch_bytes_total": 3000,
    'dcgan_fetch_retries_total{reason="throttled"}': 3,
    'dcgan_fetch_retries_total{reason="corrupt"}': 0,
    "dcgan_fetch_seconds_count": 3,
    "dcgan_fetch_seconds_sum": 0.75,
    "dcgan_fetch_ahead_batches": 40,
    "dcgan_cache_hits_total": 3,
    "dcgan_cache_misses_total": 3,
    "dcgan_cache_bytes": 15_000,
    'dcgan_build_info{version="0.1.0", preset="fashion", data_fingerprint="sha256:1f"}': 1,
}


def check_every_metric(server: Prometheus) -> None:
    found = {promql: server.query(promql) for promql in EXPECTED}
    assert {promql: [series.value for series in answer] for promql, answer in found.items()} == {
        promql: [pytest.approx(value)] for promql, value in EXPECTED.items()
    }
    assert {
        (series.labels["run"], series.labels["rank"])
        for answer in found.values()
        for series in answer
    } == {("garments", "1")}
    documented = set(re.findall(r"^\| `(dcgan_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    asked = {re.sub(r"\{.*|_(count|sum|bucket)\b.*", "", promql) for promql in EXPECTED}
    assert documented == asked | {"dcgan_checkpoint_age_seconds"}


def check_every_documented_query(server: Prometheus) -> None:
    queries = re.findall(r"```promql\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(queries) >= 8
    answers = {query: server.query(query) for query in queries}
    assert not [query for query, answer in answers.items() if not answer]


def test_prometheus_sees_every_metric(tmp_path: Path) -> None:
    with worker() as (process, port), prometheus([f"127.0.0.1:{port}"], tmp_path) as server:
        assert process.stdin
        for step, event in ((20, "committed"), (40, "failed"), (60, "")):
            process.stdin.write(f"{event}\n")
            process.stdin.flush()
            # Each step is seen before the next: a rate needs two samples that differ.
            wait_for(
                f"a scrape of step {step}", lambda step=step: server.value("dcgan_step") == step
            )
        check_every_metric(server)
        check_every_documented_query(server)
        age_seconds = server.value("dcgan_checkpoint_age_seconds")
        assert age_seconds is not None
        assert 0 < age_seconds < 60
        wait_for(
            "the age of the checkpoint to grow",
            lambda: (server.value("dcgan_checkpoint_age_seconds") or 0) > age_seconds,
        )
        assert server.value("up") == 1
        assert server.value("process_open_fds") is not None


def test_a_dead_worker_is_seen(tmp_path: Path) -> None:
    with worker() as (process, port), prometheus([f"127.0.0.1:{port}"], tmp_path) as server:
        wait_for("the worker to be up", lambda: server.value("up") == 1)
        process.kill()
        wait_for("the worker to be down", lambda: server.value("up") == 0)
        assert server.query("dcgan_steps_total") == []
