"""Validate every values file of ``ci/``: schemas, API server, KubeRay, Pod Security Standard."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.go_modules import kuberay_crd, monitoring_crds
from tests.charts.helm import CHART, CI, Helm, Object, container, only, templates
from tests.charts.schemas import LOCATION, write_schemas
from tests.servers.tools import require_tool

pytestmark = pytest.mark.helm

# KubeRay gives the sidecar no security context, and the standard forbids hostPath; see NOTES.txt.
NOT_RESTRICTED = {"sidecar-mode", "cache-hostpath"}


@pytest.fixture(scope="session")
def schema_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(folder, [kuberay_crd(), *monitoring_crds()])
    return folder


@pytest.fixture(scope="session")
def verdicts(rendered: dict[str, list[Object]]) -> dict[str, dict[str, Any]]:
    """Return the verdict of ``tests/tools/rayjob`` on each values file's RayJob."""
    jobs = [only(objects, "RayJob") for objects in rendered.values()]
    return dict(zip(rendered, judge(jobs), strict=True))


def judge(jobs: list[Object]) -> list[dict[str, Any]]:
    command = [require_tool("rayjob"), kuberay_crd()]
    done = subprocess.run(
        command, input=json.dumps(jobs), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def kubeconform(objects: list[Object], schema_folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        str(require_tool("kubeconform")),
        "-strict",
        "-summary",
        "-output",
        "text",
        "-schema-location",
        f"{schema_folder}/{LOCATION}",
    ]
    return subprocess.run(
        command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, timeout=120
    )


def test_lint(chart: Helm) -> None:
    with ThreadPoolExecutor(4) as pool:
        for text in pool.map(
            lambda path: chart.run("lint", str(CHART), "--strict", "--values", str(path)),
            CI.values(),
        ):
            assert "1 chart(s) linted, 0 chart(s) failed" in text


def test_every_object_fits_its_schema(
    rendered: dict[str, list[Object]], verdicts: dict[str, dict[str, Any]], schema_folder: Path
) -> None:
    objects = [each for rendered_objects in rendered.values() for each in rendered_objects]
    pods = [_clean(pod) for verdict in verdicts.values() for pod in verdict["pods"]]
    done = kubeconform(objects + pods, schema_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Valid: {len(objects) + len(pods)}, Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


def _clean(pod: Object) -> Object:
    """Without what Go writes for times and states that are not set."""
    return {
        **pod,
        "metadata": {k: v for k, v in pod["metadata"].items() if v is not None},
        "status": {},
    }


def test_schemas_find_what_is_wrong(rendered: dict[str, list[Object]], schema_folder: Path) -> None:
    """Unknown keys deep in a RayJob and a built-in kind, a wrong type, a kind without a schema."""
    job = json.loads(json.dumps(only(rendered["default"], "RayJob")))
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["hostPid"] = True
    account = only(rendered["default"], "ServiceAccount") | {"automountServiceAccountToken": "no"}
    policy = json.loads(json.dumps(only(rendered["default"], "NetworkPolicy")))
    policy["spec"]["egress"][0]["where"] = []
    stranger = {"apiVersion": "example.com/v1", "kind": "Stranger", "metadata": {"name": "x"}}
    for wrong, message in (
        (job, "hostPid"),
        (policy, "where"),
        (account, "automountServiceAccountToken"),
        (stranger, "could not find schema for Stranger"),
    ):
        done = kubeconform([wrong], schema_folder)
        assert done.returncode == 1
        assert message in done.stdout


@pytest.mark.parametrize("name", CI)
def test_api_server_and_operator_take_the_rayjob(
    verdicts: dict[str, dict[str, Any]], name: str
) -> None:
    assert verdicts[name]["api"] == []
    assert verdicts[name]["operator"] == []


@pytest.mark.parametrize("name", CI)
def test_pods_meet_the_restricted_standard(verdicts: dict[str, dict[str, Any]], name: str) -> None:
    """Check the pods as KubeRay creates them, with its additions."""
    assert verdicts[name]["pods"]
    assert bool(verdicts[name]["restricted"]) == (name in NOT_RESTRICTED), verdicts[name][
        "restricted"
    ]


@pytest.mark.parametrize("name", CI)
def test_kubernetes_gives_back_what_was_written(
    rendered: dict[str, list[Object]], verdicts: dict[str, dict[str, Any]], name: str
) -> None:
    """Argo CD and Flux would report a field that KubeRay's types drop or rewrite as drift."""
    assert changed(only(rendered[name], "RayJob"), verdicts[name]["roundTrip"]) == []


def test_numbers_of_all_kinds_come_back_as_written(chart: Helm) -> None:
    settings = [
        "workers.cpus=1.5,workers.memory=2048Mi,workers.scratchGiB=1022,cache.sizeGiB=2048",
        "workers.cpus=2.0,workers.memory=3000Gi,workers.shmGiB=1024,cache.kind=ephemeralVolume,cache.sizeGiB=1048576",
        "workers.cpus=0.29,head.memory=1048576Mi,submitter.cpus=0.1234,submitter.memory=1025Mi,head.cpus=.5",
        "cleanup.succeededMinutes=0,cleanup.failedMinutes=0",
        "extraEnv[0].name=EMPTY,extraEnv[0].value=,head.tolerations[0].key=spot,head.tolerations[0].value=",
        "extraVolumes[0].name=v,extraVolumeMounts[0].name=v,extraVolumeMounts[0].mountPath=/v,extraVolumeMounts[0].readOnly=false",
    ]
    jobs = [only(chart.render("--set", each), "RayJob") for each in settings]
    found = judge(jobs)
    assert [verdict["api"] + verdict["operator"] for verdict in found] == [[]] * len(settings)
    assert [
        changed(job, verdict["roundTrip"]) for job, verdict in zip(jobs, found, strict=True)
    ] == [[]] * len(settings)
    limits = [container(templates(job)["worker"])["resources"]["limits"] for job in jobs[:3]]
    assert [(each["cpu"], each["memory"], each["ephemeral-storage"]) for each in limits] == [
        ("1500m", "2Gi", "3Ti"),
        ("2", "3000Gi", "7Gi"),
        ("290m", "4Gi", "27Gi"),
    ]
    assert container(templates(jobs[2])["submitter"])["resources"]["limits"]["cpu"] == "124m"


def test_drift_is_seen(chart: Helm) -> None:
    """The comparison itself: what came back in another way, and what did not come back."""
    job = only(chart.render(), "RayJob")
    container(templates(job)["head"])["resources"]["limits"]["cpu"] = "0.5"
    job["spec"]["ttlSecondsAfterFinished"] = 0
    ((verdict),) = judge([job])
    assert sorted(
        each.rpartition(" is ")[0].rpartition(".")[2] for each in changed(job, verdict["roundTrip"])
    ) == [
        "cpu",
        "ttlSecondsAfterFinished",
    ]


def changed(written: Any, returned: Any, path: str = "") -> list[str]:
    """Return the paths of ``written`` that differ or are absent in ``returned``."""
    if isinstance(written, dict) and isinstance(returned, dict):
        return [
            each
            for key, value in written.items()
            for each in changed(value, returned.get(key), f"{path}.{key}")
        ]
    if isinstance(written, list) and isinstance(returned, list) and len(written) == len(returned):
        pairs = enumerate(zip(written, returned, strict=True))
        return [
            each for index, (one, other) in pairs for each in changed(one, other, f"{path}.{index}")
        ]
    return [] if written == returned else [f"{path} is {returned!r} for {written!r}"]


def test_verdicts_find_what_is_wrong(rendered: dict[str, list[Object]]) -> None:
    """The check itself: a CEL rule, an unknown field, KubeRay's own rules, a privileged pod."""

    def spoiled(**spec: Any) -> Object:
        job: Object = json.loads(json.dumps(only(rendered["default"], "RayJob")))
        job["spec"] |= spec
        return job

    rule = {
        "policy": "DeleteCluster",
        "condition": {"jobStatus": "FAILED", "jobDeploymentStatus": "Failed"},
    }
    root = spoiled()
    root["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["hostNetwork"] = True
    cel, unknown, operator, privileged = judge(
        [
            spoiled(deletionStrategy={"deletionRules": [rule]}),
            spoiled(nonsense=1),
            spoiled(shutdownAfterJobFinishes=True),
            root,
        ]
    )
    assert "JobStatus and JobDeploymentStatus cannot be used together" in " ".join(cel["api"])
    assert unknown["api"] == ["spec.nonsense: unknown field"]
    assert "mutually exclusive" in " ".join(operator["operator"])
    assert "head: host namespaces (hostNetwork=true)" in " ".join(privileged["restricted"])
