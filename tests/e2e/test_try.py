"""`kubectl apply -k k8s/overlays/try` as in docs/kubernetes.md: no Helm, no account, two cores."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from job.checkpoints.checkpoints import Checkpoints
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.store import Store, forwarded
from tests.servers.tools import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAMESPACE = "dcgan-train-try"
OVERLAY = ROOT / "k8s" / "overlays" / "try"
STEPS = 100
SECONDS = 600.0
KEYS = {
    "AWS_ACCESS_KEY_ID": "trial",
    "AWS_SECRET_ACCESS_KEY": "for-trials-only",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture
def smaller(
    cluster: Cluster, image: dict[str, str], store: Store, tmp_path: Path
) -> Iterator[Path]:
    """The overlay for two cores and ``STEPS``, deleted after the test."""
    if cluster.kubectl("get", "namespace", "--ignore-not-found", NAMESPACE):
        pytest.fail(
            f"the cluster has a namespace {NAMESPACE}; expected none, because this test deletes it"
        )
    folder = tmp_path / "overlay"
    folder.mkdir()
    run = yaml.safe_load((OVERLAY / "run.yaml").read_text()) | {"training": {"steps": STEPS}}
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    patch = [
        {
            "op": "replace",
            "path": f"/spec/{pod}/spec/containers/0/resources/{kind}/cpu",
            "value": cpus,
        }
        for pod, cpus in (
            ("rayClusterSpec/workerGroupSpecs/0/template", "0.5"),
            ("submitterPodTemplate", "0.15"),
        )
        for kind in ("requests", "limits")
    ]
    kustomization = {
        "namespace": NAMESPACE,
        "resources": [os.path.relpath(OVERLAY, folder.resolve())],
        "configMapGenerator": [
            {
                "name": "dcgan-train-config",
                "behavior": "merge",
                "files": ["run.yaml"],
                "options": {"immutable": True},
            }
        ],
        "images": [{"name": "dcgan-train", "newName": image["repository"], "newTag": image["tag"]}],
        "patches": [{"target": {"kind": "RayJob"}, "patch": yaml.safe_dump(patch)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    yield folder
    cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-k", folder)


def test_the_overlay_for_trying_out_trains(
    cluster: Cluster, smaller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kubectl(*arguments: str | Path, timeout: float = 120.0) -> str:
        return cluster.kubectl("-n", NAMESPACE, *arguments, timeout=timeout)

    def evidence() -> str:
        looks = (
            ("get", "all", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", "app.kubernetes.io/name=dcgan-train"),
        )
        return "\n".join(kubectl(*look) for look in looks)[-8000:]

    cluster.kubectl("apply", "-k", smaller)
    kubectl(
        "wait",
        "job/pack-images",
        "--for=condition=Complete",
        f"--timeout={SECONDS:.0f}s",
        timeout=SECONDS + 30,
    )
    ended = wait_for_end(
        lambda: json.loads(kubectl("get", "rayjob/dcgan-train", "-o", "json")).get("status", {})
    )
    assert ended == "SUCCEEDED", evidence()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with forwarded(cluster, NAMESPACE, tmp_path / "port-forward.log") as url:
        run = open_store("s3://trial/runs/first", StorageSpec(endpoint_url=url))
        assert [entry.key for entry in run.list("samples/step-")] == [
            f"samples/step-{step:09d}.png" for step in (0, STEPS)
        ]
        assert Checkpoints(run).committed()[0].step == STEPS
        (tmp_path / "grid.png").write_bytes(run.read(f"samples/step-{STEPS:09d}.png"))
    cluster.kubectl("delete", "-k", smaller, timeout=300)
    assert cluster.kubectl("get", "namespace", "--ignore-not-found", NAMESPACE) == ""


def wait_for_end(status: Callable[[], dict[str, str]]) -> str:
    """Return the RayJob's status at its end, or after ``SECONDS``."""
    deadline = time.monotonic() + SECONDS
    while (state := status().get("jobStatus", "")) not in (
        "SUCCEEDED",
        "FAILED",
        "STOPPED",
    ) and time.monotonic() < deadline:
        time.sleep(2)
    return state
