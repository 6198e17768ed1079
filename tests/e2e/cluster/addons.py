"""What a cluster runs in pods before anybody's work: its DNS server, and KubeRay's operator as KubeRay's own manifests have it.

The images are one static program each, made here from what `make tools` built.
"""

import os
import subprocess
from pathlib import Path

import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.images import File, write_image
from tests.e2e.cluster.plan import NODE_NAME, Plan
from tests.servers.tools import BIN, ROOT

OPERATOR_NAMESPACE = "kuberay-system"
_COREDNS_IMAGE = "localhost/coredns:1"
_OPERATOR_MODULE = "github.com/ray-project/kuberay/ray-operator"
_SECONDS = "240s"


def install(cluster: Cluster, plan: Plan, folder: Path) -> None:
    """DNS and operator, both answering."""
    cluster.kubectl("wait", f"node/{NODE_NAME}", "--for=condition=Ready", f"--timeout={_SECONDS}", timeout=300)
    _load(cluster, folder, _COREDNS_IMAGE, {"/coredns": File(BIN / "coredns")}, "/coredns", user="0:0")
    manifest = Path(__file__).with_name("coredns.yaml").read_text()
    cluster.kubectl("apply", "-f", "-", stdin=manifest.replace("${DNS_ADDRESS}", plan.dns_address).replace("${IMAGE}", _COREDNS_IMAGE))
    _install_operator(cluster, folder)
    for namespace, name in (("kube-system", "coredns"), (OPERATOR_NAMESPACE, "kuberay-operator")):
        cluster.kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={_SECONDS}", timeout=300)


def _install_operator(cluster: Cluster, folder: Path) -> None:
    overlay = folder / "operator"
    overlay.mkdir()
    base = os.path.relpath(operator_module() / "config" / "default", overlay.resolve())
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": OPERATOR_NAMESPACE, "resources": [base]}))
    objects = list(yaml.safe_load_all(cluster.kubectl("kustomize", overlay)))
    (image,) = {container["image"] for container in _containers(objects)}
    for container in _containers(objects):
        # A tenth of a processor lets it start for a minute.
        container["resources"]["limits"].pop("cpu")
    _load(cluster, folder, image, {"/manager": File(BIN / "ray-operator")}, "/manager")
    # Restricted, as the whole project wants its pods.
    cluster.kubectl("create", "namespace", OPERATOR_NAMESPACE)
    cluster.kubectl("label", "namespace", OPERATOR_NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    # On the server's side: the CRDs are too long for the annotation that the other way keeps.
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
    cluster.kubectl("wait", "--for=condition=Established", "crd/rayjobs.ray.io", "--timeout=60s")


def _containers(objects: list[dict]) -> list[dict]:
    return [container for each in objects if each["kind"] == "Deployment" for container in each["spec"]["template"]["spec"]["containers"]]


def operator_module() -> Path:
    """The folder of KubeRay's module, where its manifests and CRDs are."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", _OPERATOR_MODULE]
    folder = ROOT / "tests" / "tools" / "kuberay"
    environment = os.environ | {"GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    found = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    if not found:
        subprocess.run(["go", "mod", "download", _OPERATOR_MODULE], cwd=folder, env=environment, check=True)
        return operator_module()
    return Path(found)


def _load(cluster: Cluster, folder: Path, name: str, files: dict, entrypoint: str, user: str = "65532:65532") -> None:
    archive = folder / "image.tar"
    write_image(archive, name, files, [entrypoint], user=user)
    cluster.load_image(archive)
    archive.unlink()
