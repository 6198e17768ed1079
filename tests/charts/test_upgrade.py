"""An upgrade creates a new RayJob if the run changes, and keeps it otherwise."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.charts.helm import CHART, Helm, Object, only

pytestmark = pytest.mark.helm

ANOTHER_RUN = (
    "run.training.epochs=5",
    "run.uri=s3://bucket/runs/two",
    "workers.count=4",
    "workers.memory=8Gi",
    "head.cpus=2",
    "image.tag=other",
    "extraEnv[0].name=NCCL_DEBUG,extraEnv[0].value=INFO",
    "podLabels.team=vision",
    "credentials.existingSecret=keys",
    "cache.sizeGiB=21",
    "termination.drainSeconds=90",
    "auth.mode=disabled",
    "job.submissionMode=HTTPMode",
    "submitter.memory=1Gi",
    "job.generation=1",
    "schedulerName=volcano",
    "extraEnvFrom[0].configMapRef.name=site",
    "submitter.labels.team=vision",
    "global.imageRegistry=mirror.example.com",
)
# What KubeRay or Kueue takes from a RayJob that runs, and what is not part of it.
THE_SAME_RUN = (
    "job.activeDeadlineSeconds=7200",
    "job.preRunningDeadlineSeconds=60",
    "job.backoffLimit=5",
    "cleanup.policy=shutdown",
    "cleanup.policy=shutdown,job.suspend=true",
    "cleanup.policy=shutdown,job.queue=gpus",
    "cleanup.failedMinutes=5",
    "job.labels.team=vision",
    "networkPolicy.enabled=false",
    "podDisruptionBudget.workers=true",
    "monitoring.podMonitor.enabled=true",
    "commonLabels.team=vision",
    "commonAnnotations.commit=4f2a",
)


@pytest.fixture(scope="module")
def jobs(chart: Helm) -> dict[str, Object]:
    changes = ("", *ANOTHER_RUN, *THE_SAME_RUN)
    with ThreadPoolExecutor(4) as pool:
        rendered = pool.map(
            lambda change: only(chart.render(*(("--set", change) if change else ())), "RayJob"),
            changes,
        )
        return dict(zip(changes, rendered, strict=True))


@pytest.mark.parametrize("change", ANOTHER_RUN)
def test_another_run_gets_another_name(jobs: dict[str, Object], change: str) -> None:
    names = [job["metadata"]["name"] for job in jobs.values()]
    assert names.count(jobs[change]["metadata"]["name"]) == 1


@pytest.mark.parametrize("change", THE_SAME_RUN)
def test_the_same_run_keeps_its_name_and_what_cannot_change(
    jobs: dict[str, Object], change: str
) -> None:
    before, after = jobs[""], jobs[change]
    assert after["metadata"]["name"] == before["metadata"]["name"]
    for field in (
        "entrypoint",
        "submissionMode",
        "rayClusterSpec",
        "submitterPodTemplate",
        "submitterConfig",
    ):
        assert after["spec"].get(field) == before["spec"].get(field)


def test_a_new_version_of_the_chart_alone_starts_no_new_run(
    jobs: dict[str, Object], chart: Helm, tmp_path: Path
) -> None:
    """Nor is a comment: the hash is of values."""
    newer = tmp_path / "dcgan-train"
    shutil.copytree(CHART, newer)
    newer.joinpath("Chart.yaml").write_text(
        re.sub(
            r"^version: .+$",
            "version: 99.1.0",
            CHART.joinpath("Chart.yaml").read_text(),
            flags=re.MULTILINE,
        )
    )
    template = newer / "templates" / "_raycluster.tpl"
    template.write_text(
        template.read_text().replace("rayStartParams:\n", "rayStartParams:\n  # Another comment.\n")
    )
    job = only(Helm(chart.program, newer).render(), "RayJob")
    assert job["metadata"]["labels"]["helm.sh/chart"] == "dcgan-train-99.1.0"
    assert job["metadata"]["name"] == jobs[""]["metadata"]["name"]
    assert job["spec"] == jobs[""]["spec"]


def test_the_config_is_found_by_its_name(chart: Helm) -> None:
    """Old pods that start again mount what they were made for."""
    objects = [chart.render(), chart.render("--set", "run.seed=1")]
    names = [
        next(each["metadata"]["name"] for each in rendered if "run.yaml" in each.get("data", {}))
        for rendered in objects
    ]
    assert names[0] != names[1]
    for rendered, name in zip(objects, names, strict=True):
        assert str(only(rendered, "RayJob")).count(name) == 2
