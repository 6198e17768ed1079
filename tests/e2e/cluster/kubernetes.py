"""A Kubernetes cluster with the KubeRay operator: that of KUBECONFIG, or one of a single node.

with kubernetes(folder) as cluster:
    cluster.load_image(archive)      # only if ``cluster.is_own``
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    subprocess.run(["helm", "install", ...], env=os.environ | cluster.env())
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import addons, namespaces
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.plan import Plan
from tests.servers.tools import require_tool, skip_or_fail

KUBECONFIG_NAME = "super-admin.conf"
# From `make tools`, and from Debian: containerd (with ctr), runc, iptables, ipset, util-linux,
# iproute2, hostname.
_BUILT = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubeadm",
    "kubectl",
    "netpol",
)
_IMAGES = ("pause", "coredns", "ray-operator")
_DEBIAN = (
    "containerd",
    "ctr",
    "runc",
    "iptables",
    "ipset",
    "ip",
    "unshare",
    "setpriv",
    "nsenter",
    "mount",
    "hostname",
)
# Of the module br_netfilter: rules of policies and services apply to bridged packets, between pods.
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@contextmanager
def kubernetes(folder: Path) -> Iterator[Cluster]:
    """A cluster with KubeRay. One made here keeps its files in ``folder``; only logs stay."""
    if named := os.environ.get("KUBECONFIG"):
        yield _named_cluster(Path(named))
        return
    _require_programs()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if left := sorted(path.name for path in folder.iterdir() if not _is_log(path)):
        raise RuntimeError(
            f"{folder} holds {', '.join(left[:3])}; expected no cluster there: "
            "`python -m tests.e2e.cluster down` ends what is left"
        )
    shutil.rmtree(folder / "logs", ignore_errors=True)
    (folder / "node.log").unlink(missing_ok=True)
    try:
        with namespaces.link() as plan, namespaces.cgroups(plan):
            (folder / "number").write_text(str(plan.number))
            with namespaces.node(plan, folder) as first_process:
                cluster = Cluster(folder / KUBECONFIG_NAME, first_process)
                addons.install(cluster, plan, folder)
                yield cluster
    finally:
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the link, cgroups and files, but not the logs, of a cluster without processes."""
    number = folder / "number"
    if number.exists():
        namespaces.remove_traces(Plan(int(number.read_text())))
    for path in folder.iterdir():
        if not _is_log(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_log(path: Path) -> bool:
    return path.name == "logs" or path.suffix == ".log"


def _named_cluster(kubeconfig: Path) -> Cluster:
    require_tool("kubectl")
    cluster = Cluster(kubeconfig)
    try:
        cluster.kubectl("get", "crd", "rayjobs.ray.io")
    except RuntimeError as error:
        raise RuntimeError(
            f"KUBECONFIG is {kubeconfig}; expected a cluster with KubeRay's operator "
            "(`helm install kuberay-operator kuberay/kuberay-operator`)"
            f" and found: {error}"
        ) from None
    return cluster


def _require_programs() -> None:
    """Skip where a cluster cannot be made, or fail where DCGAN_REQUIRE_TOOLS=1 (CI)."""
    for name in (*_BUILT, *_IMAGES, *_DEBIAN):
        require_tool(name)
    lacking = (
        "root"
        if os.geteuid() != 0
        else ""
        if _BRIDGE_FILTER.exists()
        else f"{_BRIDGE_FILTER} (on the host: `modprobe br_netfilter`)"
    )
    if lacking:
        text = f"found no {lacking}, which a node here needs; name another cluster by KUBECONFIG"
        skip_or_fail(text)
