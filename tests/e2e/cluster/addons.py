"""Pods of the cluster itself: its DNS server, and KubeRay's operator from its manifests.

The images are one static program each, made here from what `make tools` built.
"""

import json
import os
import subprocess
from pathlib import Path

import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.images import File, write_image
from tests.e2e.cluster.plan import NODE_NAME, Plan
from tests.servers.prometheus import wait_for
from tests.servers.tools import BIN, ROOT

OPERATOR_NAMESPACE = "kuberay-system"
_ADMINS = "kubeadm:cluster-admins"
_COREDNS_IMAGE = "localhost/coredns:1"
_OPERATOR_IMAGE = "localhost/kuberay-operator:1"
_NO_CPU_LIMIT = {
    "op": "remove",
    "path": "/spec/template/spec/containers/0/resources/limits/cpu",
}  # a tenth: it would start for a minute
_OPERATOR_MODULE = "github.com/ray-project/kuberay/ray-operator"
_SECONDS = "240s"


def install(cluster: Cluster, plan: Plan, folder: Path) -> None:
    """The node ready; DNS and operator, both answering."""
    cluster.kubectl(
        "wait", f"node/{NODE_NAME}", "--for=condition=Ready", f"--timeout={_SECONDS}", timeout=300
    )
    # The group in the certificate with which the API server asks kubelet for logs.
    cluster.kubectl(
        "create", "clusterrolebinding", _ADMINS, "--clusterrole=cluster-admin", f"--group={_ADMINS}"
    )
    _load(
        cluster, folder, _COREDNS_IMAGE, {"/coredns": File(BIN / "coredns")}, "/coredns", user="0:0"
    )
    manifest = Path(__file__).with_name("coredns.yaml").read_text()
    cluster.kubectl(
        "apply",
        "-f",
        "-",
        stdin=manifest.replace("${DNS_ADDRESS}", plan.dns_address).replace(
            "${IMAGE}", _COREDNS_IMAGE
        ),
    )
    _install_operator(cluster, folder)
    try:
        for namespace, name in (
            ("kube-system", "coredns"),
            (OPERATOR_NAMESPACE, "kuberay-operator"),
        ):
            cluster.kubectl(
                "-n",
                namespace,
                "rollout",
                "status",
                f"deployment/{name}",
                f"--timeout={_SECONDS}",
                timeout=300,
            )
    except RuntimeError as error:
        events = cluster.kubectl("get", "events", "-A", "--field-selector=type=Warning")
        raise RuntimeError(f"{error}\n{events[-2000:]}") from None


def _install_operator(cluster: Cluster, folder: Path) -> None:
    """In a namespace for restricted pods, as the whole project wants its own to be."""
    overlay = folder / "operator"
    overlay.mkdir()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": OPERATOR_NAMESPACE, "labels": labels},
    }
    (overlay / "namespace.yaml").write_text(yaml.safe_dump(namespace))
    image, tag = _OPERATOR_IMAGE.split(":")
    kustomization = {
        "namespace": OPERATOR_NAMESPACE,
        "resources": [
            os.path.relpath(operator_module() / "config" / "default", overlay.resolve()),
            "namespace.yaml",
        ],
        "images": [{"name": "quay.io/kuberay/operator", "newName": image, "newTag": tag}],
        "patches": [{"target": {"kind": "Deployment"}, "patch": yaml.safe_dump([_NO_CPU_LIMIT])}],
    }
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    _load(cluster, folder, _OPERATOR_IMAGE, {"/manager": File(BIN / "ray-operator")}, "/manager")
    # On the server's side: the CRDs are too long for the annotation that the other way keeps.
    cluster.kubectl("apply", "--server-side", "-k", overlay)

    def is_established() -> bool:
        """``kubectl wait`` and a JSON path fail at once while there is no condition yet."""
        found = json.loads(cluster.kubectl("get", "crd/rayjobs.ray.io", "-o", "json"))
        conditions = found.get("status", {}).get("conditions") or []
        return ("Established", "True") in [(each["type"], each["status"]) for each in conditions]

    wait_for("RayJob's CRD", is_established, seconds=60)


def operator_module() -> Path:
    """The folder of KubeRay's module, where its manifests and CRDs are."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", _OPERATOR_MODULE]
    folder = ROOT / "tests" / "tools" / "kuberay"
    environment = os.environ | {"GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    found = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    if not found:
        subprocess.run(
            ["go", "mod", "download", _OPERATOR_MODULE], cwd=folder, env=environment, check=True
        )
        return operator_module()
    return Path(found)


def _load(
    cluster: Cluster,
    folder: Path,
    name: str,
    files: dict,
    entrypoint: str,
    user: str = "65532:65532",
) -> None:
    archive = folder / "image.tar"
    write_image(archive, name, files, [entrypoint], user=user)
    cluster.load_image(archive)
    archive.unlink()
