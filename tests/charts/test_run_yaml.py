"""The program takes the run.yaml of every values file, and gets what the values say."""

import functools
from pathlib import Path

import pytest
import yaml

from job.config.load import load_run
from job.config.spec import RunSpec
from tests.charts.helm import CI, Helm, Object, container, env, of_kind, only, templates

pytestmark = pytest.mark.helm


def config(objects: list[Object]) -> Object:
    (found,) = (each for each in of_kind(objects, "ConfigMap") if "run.yaml" in each["data"])
    return found


@pytest.fixture
def load(tmp_path: Path) -> functools.partial[RunSpec]:
    def loaded(objects: list[Object]) -> RunSpec:
        path = tmp_path / "run.yaml"
        path.write_text(config(objects)["data"]["run.yaml"])
        return load_run(None, path)

    return functools.partial(loaded)


@pytest.mark.parametrize("name", CI)
def test_the_program_takes_it(
    rendered: dict[str, list[Object]], load: functools.partial[RunSpec], name: str
) -> None:
    spec = load(rendered[name])
    worker = container(templates(only(rendered[name], "RayJob"))["worker"])
    assert spec.uri == "s3://bucket/runs/one"
    assert spec.data.cache_dir in {mount["mountPath"] for mount in worker["volumeMounts"]}
    assert {"name": "metrics", "containerPort": spec.metrics.port} in worker["ports"]
    assert worker["resources"]["limits"]["cpu"] == f"{spec.workers.cpus:g}"
    if name == "platform":  # claims provide the GPUs
        assert (len(worker["resources"]["claims"]), spec.workers.gpus) == (1, 1)
    else:
        assert int(worker["resources"]["limits"].get("nvidia.com/gpu", 0)) == spec.workers.gpus


def test_values_of_the_user_go_through(chart: Helm, load: functools.partial[RunSpec]) -> None:
    """Numbers of all kinds: large ones, small ones and those that YAML 1.1 reads as text."""
    spec = load(
        chart.render(
            *(
                "--set",
                "run.checkpoints.every_steps=12000000,run.training.generator_optimizer.learning_rate=0.0000002",
            ),
            *("--set", "run.training.epochs=null,run.training.steps=30000000,run.seed=2147483647"),
            *("--set-string", "run.training.discriminator_optimizer.learning_rate=2e-4"),
            *("--set", "workers.cpus=1.5,cache.sizeGiB=100"),
        )
    )
    assert (spec.checkpoints.every_steps, spec.training.steps, spec.seed) == (
        12_000_000,
        30_000_000,
        2_147_483_647,
    )
    assert (
        spec.training.generator_optimizer.learning_rate,
        spec.training.discriminator_optimizer.learning_rate,
    ) == (2e-7, 2e-4)
    assert (spec.workers.cpus, spec.data.cache_bytes) == (1.5, 90 * 2**30)


def test_a_pod_has_room_for_one_worker(chart: Helm, load: functools.partial[RunSpec]) -> None:
    """Ray counts whole cores: a pod of half a core got two workers, one never scraped (seen)."""
    objects = chart.render("--set", "workers.cpus=0.5")
    assert (
        container(templates(only(objects, "RayJob"))["worker"])["resources"]["limits"]["cpu"]
        == "500m"
    )
    assert load(objects).workers.cpus == 1


def test_a_new_run_waits_for_the_old_one(
    rendered: dict[str, list[Object]], load: functools.partial[RunSpec], chart: Helm
) -> None:
    """As long as the old one's pods may take, unless the user says how long."""
    pod = templates(only(rendered["default"], "RayJob"))["head"]["spec"]
    assert (
        load(rendered["default"]).checkpoints.lease_wait_seconds
        == pod["terminationGracePeriodSeconds"]
    )
    assert (
        load(
            chart.render("--set", "run.checkpoints.lease_wait_seconds=5")
        ).checkpoints.lease_wait_seconds
        == 5
    )


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ((), 30),
        (("--set", "monitoring.podMonitor.interval=20s"), 40),
        (("--set", "monitoring.podMonitor.interval=1m,termination.drainSeconds=70"), 120),
        (("--set", "monitoring.podMonitor.interval=150s,termination.drainSeconds=160"), 300),
    ],
)
def test_the_last_values_stay_for_two_scrapes(
    chart: Helm, load: functools.partial[RunSpec], settings: tuple[str, ...], seconds: int
) -> None:
    assert load(chart.render(*settings)).metrics.linger_seconds == seconds
    assert (
        load(
            chart.render(*settings, "--set", "run.metrics.linger_seconds=3")
        ).metrics.linger_seconds
        == 3
    )


@pytest.mark.parametrize(
    ("interval", "seconds"), [("5s", 25), ("15s", 25), ("16s", 26), ("1m", 70), ("150s", 160)]
)
def test_a_scrape_falls_into_a_stop(
    chart: Helm, load: functools.partial[RunSpec], interval: str, seconds: int
) -> None:
    """After a stop workers serve their last values for 5 s less than the grace."""
    settings = ("--set", f"monitoring.podMonitor.interval={interval},termination.drainSeconds=200")
    objects = chart.render(*settings)
    assert load(objects).checkpoints.grace_seconds == seconds
    assert env(templates(only(objects, "RayJob"))["head"])["RAY_JOB_STOP_WAIT_TIME_S"] == str(
        seconds + 10
    )
    assert (
        load(
            chart.render(*settings, "--set", "run.checkpoints.grace_seconds=180")
        ).checkpoints.grace_seconds
        == 180
    )


def test_it_holds_no_secret_and_is_immutable(rendered: dict[str, list[Object]]) -> None:
    for objects in rendered.values():
        assert config(objects)["immutable"] is True
        assert not {
            key
            for key in _keys(yaml.safe_load(config(objects)["data"]["run.yaml"]))
            if "secret" in key or "token" in key
        }


def _keys(section: Object) -> set[str]:
    return set(section) | {
        key for inner in section.values() if isinstance(inner, dict) for key in _keys(inner)
    }
