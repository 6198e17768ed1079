"""Helm, run on the chart: what it renders, and with which words it refuses.

chart = Helm(require_tool("helm"))
objects = chart.render("--set", "workers.count=4", values="gpu")    # of ci/gpu-values.yaml
only(objects, "RayJob")["spec"]["backoffLimit"]
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.servers.tools import ROOT

CHART = ROOT / "charts" / "dcgan-train"
CI = {
    path.name.removesuffix("-values.yaml"): path
    for path in sorted(CHART.joinpath("ci").glob("*-values.yaml"))
}
RELEASE, NAMESPACE = "faces", "training"
REQUIRED = ("--set", "run.uri=s3://bucket/runs/one", "--set", "run.data.uri=s3://bucket/packed/one")

Object = dict[str, Any]


class Refused(Exception):
    """Helm's message for values that it does not take."""


@dataclass(frozen=True)
class Helm:
    """The chart as a user meets it; ``program`` is the path of Helm."""

    program: Path
    chart: Path = CHART

    def render(
        self, *arguments: str, values: str | None = None, release: str = RELEASE
    ) -> list[Object]:
        """Every object that would be installed, `helm test`'s too; ``values`` names a file of ``ci/``. ``Refused`` where there is none."""
        text = self.run(
            "template",
            release,
            str(self.chart),
            "--namespace",
            NAMESPACE,
            *_given(values),
            *arguments,
        )
        return [document for document in yaml.safe_load_all(text) if document]

    def notes(self, *arguments: str, values: str | None = None) -> str:
        """What `helm install` prints at its end."""
        text = self.run(
            "install",
            RELEASE,
            str(self.chart),
            "--namespace",
            NAMESPACE,
            "--dry-run=client",
            *_given(values),
            *arguments,
        )
        return text.partition("\nNOTES:\n")[2]

    def run(self, *arguments: str) -> str:
        """Standard output of one command; ``Refused`` with standard error where it fails."""
        done = subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout


def _given(values: str | None) -> tuple[str, ...]:
    return REQUIRED if values is None else ("--values", str(CI[values]))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def only(objects: list[Object], kind: str) -> Object:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def templates(job: Object) -> dict[str, Object]:
    """The pod templates of a RayJob by component: head, worker and, where there is one, submitter."""
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    found = {"head": cluster["headGroupSpec"]["template"], "worker": workers["template"]}
    if "submitterPodTemplate" in job["spec"]:
        found["submitter"] = job["spec"]["submitterPodTemplate"]
    return found


def container(template: Object) -> Object:
    """The container that KubeRay takes for Ray's: the first."""
    return template["spec"]["containers"][0]


def env(template: Object) -> dict[str, str | None]:
    """Variables of the first container; None for one that comes from elsewhere."""
    return {entry["name"]: entry.get("value") for entry in container(template).get("env", [])}
