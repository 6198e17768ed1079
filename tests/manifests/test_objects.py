"""Validate all objects of `k8s/`: schemas, API server, KubeRay, Pod Security Standard."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.config.errors import ConfigError
from job.config.load import load_run
from k8s import generate
from tests.charts import schemas
from tests.charts.go_modules import kuberay_crd, monitoring_crds
from tests.charts.helm import Helm, Object, container, of_kind, only, templates
from tests.charts.test_manifests import changed, judge, kubeconform
from tests.manifests.kustomize import COMPONENTS, K8S, OVERLAYS
from tests.servers.tools import ROOT

pytestmark = pytest.mark.helm

BUILDS = ["base", *OVERLAYS, *(f"base+{name}" for name in COMPONENTS)]
KINDS_OF_LOCAL_S3 = (
    "deployment-apps-v1",
    "service-v1",
    "secret-v1",
    "job-batch-v1",
    "namespace-v1",
)
Built = dict[str, list[Object]]


@pytest.fixture(scope="module")
def schema_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    schemas.write_schemas(
        folder, [kuberay_crd(), *monitoring_crds()], (*schemas.BUILT_IN, *KINDS_OF_LOCAL_S3)
    )
    return folder


@pytest.fixture(scope="module")
def verdicts(built: Built) -> dict[str, dict[str, Any]]:
    return dict(
        zip(built, judge([only(objects, "RayJob") for objects in built.values()]), strict=True)
    )


def test_every_object_fits_its_schema(built: Built, schema_folder: Path) -> None:
    objects = [each for one in built.values() for each in one]
    done = kubeconform(objects, schema_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Valid: {len(objects)}, Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


@pytest.mark.parametrize("name", BUILDS)
def test_api_server_and_operator_take_the_rayjob(
    verdicts: dict[str, dict[str, Any]], name: str
) -> None:
    assert verdicts[name]["api"] == []
    assert verdicts[name]["operator"] == []


@pytest.mark.parametrize("name", BUILDS)
def test_kubernetes_gives_back_what_was_written(
    built: Built, verdicts: dict[str, dict[str, Any]], name: str
) -> None:
    assert changed(only(built[name], "RayJob"), verdicts[name]["roundTrip"]) == []


@pytest.mark.parametrize("name", BUILDS)
def test_pods_meet_the_restricted_standard(verdicts: dict[str, dict[str, Any]], name: str) -> None:
    assert len(verdicts[name]["pods"]) == 3
    assert verdicts[name]["restricted"] == []


def test_pods_of_local_s3_meet_the_restricted_standard(built: Built) -> None:
    """The judge is one of RayJobs; it takes a submitter's pod as it is."""
    found = [
        each["spec"]["template"]
        for kind in ("Deployment", "Job")
        for each in of_kind(built["try"], kind)
    ]
    assert len(found) == 2
    assert [
        verdict["restricted"]
        for verdict in judge([_submitted_by(built, template) for template in found])
    ] == [[], []]
    root = json.loads(json.dumps(found[0]).replace('"runAsNonRoot": true', '"runAsNonRoot": false'))
    assert "runAsNonRoot" in str(judge([_submitted_by(built, root)])[0]["restricted"])


def _submitted_by(built: Built, template: Object) -> Object:
    job: Object = json.loads(json.dumps(only(built["base"], "RayJob")))
    job["spec"]["submitterPodTemplate"] = template
    return job


def test_generated_files_are_up_to_date(chart: Helm) -> None:
    """Each is written from the chart, and used: what the chart has, an overlay has."""
    generated = generate.generated(chart.program)
    for path, text in generated.items():
        assert path.read_text() == text, "run `python k8s/generate.py`"
    for folder in ("base", "components/monitoring"):
        used = yaml.safe_load((K8S / folder / "kustomization.yaml").read_text())["resources"]
        paths = {
            path.relative_to(K8S / folder).as_posix().removesuffix("/kustomization.yaml")
            for path in generated
            if path.is_relative_to(K8S / folder)
        }
        assert set(used) == paths


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_of_the_run_has_the_image_of_the_overlay(built: Built, name: str) -> None:
    """Also those of lists that kustomize does not know."""
    (image,) = yaml.safe_load((K8S / "overlays" / name / "kustomization.yaml").read_text())[
        "images"
    ]
    used = set(re.findall(r'"image": "([^"]+)"', json.dumps(built[name]))) - {_server_image(built)}
    assert used == {f"{image['newName']}:{image['newTag']}"}


def test_another_registry_and_another_server(kustomize: Any) -> None:
    """`images` of a user's overlay reach containers of RayJobs, Jobs and Deployments."""
    images = [
        {"name": "dcgan-train", "newName": "registry.example.com/gan"},
        {"name": "ghcr.io/versity/versitygw", "newTag": "v0"},
    ]
    text = json.dumps(kustomize.with_components("local-s3", images=images))
    assert set(re.findall(r'"image": "([^"]+)"', text)) == {
        "registry.example.com/gan:0.1.0",
        "ghcr.io/versity/versitygw:v0",
    }


def test_a_prefix_reaches_what_a_rayjob_names(kustomize: Any) -> None:
    objects = kustomize.with_components("credentials", namePrefix="faces-")
    pods = templates(only(objects, "RayJob"))
    assert {pod["spec"]["serviceAccountName"] for pod in pods.values()} == {"faces-dcgan-train"}
    config = only(objects, "ConfigMap")["metadata"]["name"]
    assert config.startswith("faces-dcgan-train-config-")
    assert [pods[name]["spec"]["volumes"][0] for name in ("head", "worker")] == [
        {"name": "config", "configMap": {"name": config}}
    ] * 2


def test_the_server_is_the_one_of_the_tests(built: Built) -> None:
    (pinned,) = re.findall(
        r"github\.com/versity/versitygw (v\S+)", (ROOT / "tests/tools/s3/go.mod").read_text()
    )
    assert _server_image(built).endswith(f":{pinned}")


def _server_image(built: Built) -> str:
    found: str = only(built["try"], "Deployment")["spec"]["template"]["spec"]["containers"][0][
        "image"
    ]
    return found


@pytest.mark.parametrize("name", ["base", *OVERLAYS])
def test_the_run_fits_its_pods(built: Built, tmp_path: Path, name: str) -> None:
    """The chart derives these values; k8s/ repeats them."""
    (data,) = (
        each["data"] for each in of_kind(built[name], "ConfigMap") if "run.yaml" in each["data"]
    )
    path = tmp_path / "run.yaml"
    path.write_text(data["run.yaml"])
    spec = load_run(None, path, check=False)
    job = only(built[name], "RayJob")
    pods = templates(job)
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    worker = container(group["template"])
    sizes = {
        volume["name"]: volume.get("emptyDir", {}).get("sizeLimit", "")
        for volume in group["template"]["spec"]["volumes"]
    }
    assert {group[key] for key in ("replicas", "minReplicas", "maxReplicas")} == {
        spec.workers.count
    }
    assert float(worker["resources"]["limits"]["cpu"]) == spec.workers.cpus
    assert int(worker["resources"]["limits"].get("nvidia.com/gpu", 0)) == spec.workers.gpus
    assert group["rayStartParams"]["num-gpus"] == str(spec.workers.gpus)
    assert {"name": "cache", "mountPath": spec.data.cache_dir} in worker["volumeMounts"]
    assert spec.data.cache_bytes == int(sizes["cache"].removesuffix("Gi")) * 2**30 * 9 // 10
    assert {"name": "metrics", "containerPort": spec.metrics.port} in worker["ports"]
    assert {pods[name]["spec"]["terminationGracePeriodSeconds"] for name in ("head", "worker")} == {
        spec.checkpoints.lease_wait_seconds
    }


@pytest.mark.parametrize("name", ["base", "cpu", "gpu"])
def test_a_run_without_uris_is_refused(name: str) -> None:
    """Rather than one that trains into somebody's bucket; and with them it is taken."""
    path = K8S / ("base" if name == "base" else f"overlays/{name}") / "run.yaml"
    with pytest.raises(ConfigError, match="uri is not set"):
        load_run(None, path)
    load_run(None, path, overrides=["uri=s3://bucket/runs/one", "data.uri=s3://bucket/packed"])
