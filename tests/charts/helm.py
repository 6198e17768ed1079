"""Run Helm on the chart: rendered objects, and messages for rejected values.

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
    """Helm's message for values that it rejects."""


@dataclass(frozen=True)
class Helm:
    """Helm on the chart; ``program`` is its path."""

    program: Path
    chart: Path = CHART

    def render(
        self, *arguments: str, values: str | None = None, release: str = RELEASE
    ) -> list[Object]:
        """Return all objects, with those of `helm test`; ``values`` names a file of ``ci/``.

        Raise ``Refused`` if Helm rejects the values.
        """
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
        """Return the notes that `helm install` prints."""
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
        """Return the output of a command, or raise ``Refused`` with its standard error."""
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
    """Return the only object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def templates(job: Object) -> dict[str, Object]:
    """Return the pod templates of a RayJob by component: head, worker, submitter if any."""
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    found = {"head": cluster["headGroupSpec"]["template"], "worker": workers["template"]}
    if "submitterPodTemplate" in job["spec"]:
        found["submitter"] = job["spec"]["submitterPodTemplate"]
    return found


def container(template: Object) -> Object:
    """Return Ray's container: KubeRay uses the first."""
    return template["spec"]["containers"][0]


def env(template: Object) -> dict[str, str | None]:
    """Return the variables of the first container; None for one with ``valueFrom``."""
    return {entry["name"]: entry.get("value") for entry in container(template).get("env", [])}
