"""A scanner finds no fault in the chart's objects and KubeRay's pods, except those excused here."""

import json
import subprocess

import pytest
import yaml

from tests.charts.helm import Object, only
from tests.charts.test_manifests import judge
from tests.servers.tools import require_tool

pytestmark = pytest.mark.helm

# What the chart fails on purpose, by check and container ("" is any).
EXCUSED = {
    (
        "container-image-pull-policy",
        "",
    ): "IfNotPresent: with Always an outage of the registry would be one of the run",
    (
        "pod-probes-identical",
        "",
    ): "a worker has one endpoint for both questions; they differ in patience",
    ("container-ephemeral-storage-request-and-limit", "wait-gcs-ready"): "KubeRay's own container",
}
# Beside those that run anyway.
OPTIONAL = (
    "container-resource-requests-equal-limits",
    "container-seccomp-profile",
    "container-ports-check",
)
VALUES = ("default", "gpu", "elastic", "s3-in-cluster", "preflight", "monitoring", "platform")


@pytest.mark.parametrize("name", VALUES)
def test_nothing_to_report(rendered: dict[str, list[Object]], name: str) -> None:
    (verdict,) = judge([only(rendered[name], "RayJob")])
    report = scan([each for each in rendered[name] if each["kind"] != "RayJob"] + verdict["pods"])
    assert [
        finding for finding in report if not {(finding[1], ""), finding[1:3]} & set(EXCUSED)
    ] == []


def test_finds_what_is_wrong(rendered: dict[str, list[Object]]) -> None:
    pod = json.loads(json.dumps(only(rendered["default"], "Pod")))
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    del pod["spec"]["containers"][0]["resources"]
    found = {check for _, check, _, _ in scan([pod])}
    assert found >= {
        "container-security-context-privileged",
        "container-security-context-readonlyrootfilesystem",
        "container-resources",
        "pod-networkpolicy",
    }


def scan(objects: list[Object]) -> list[tuple[str, str, str, str]]:
    """(object, check, container, what is wrong) of everything found."""
    optional = [word for check in OPTIONAL for word in ("--enable-optional-test", check)]
    command = [
        require_tool("kube-score"),
        "score",
        "--output-format",
        "json",
        "--kubernetes-version",
        "v1.34",
        *optional,
        "-",
    ]
    done = subprocess.run(
        command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    return [
        (scored["object_name"], check["check"]["id"], comment["path"], comment["summary"])
        for scored in json.loads(done.stdout)
        for check in scored["checks"]
        if not check["skipped"] and check["grade"] < 10
        for comment in check["comments"]
    ]
