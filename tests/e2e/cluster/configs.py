"""Configuration of the node's programs: kubeadm, containerd, network plugins, kubelet, kube-proxy.

Pure: dictionaries and text from the plan. Paths are those inside the node.
"""

import json
from pathlib import Path
from typing import Any

from tests.e2e.cluster.plan import API_PORT, NODE_FOLDER, NODE_NAME, Plan

CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
PAUSE_IMAGE = "localhost/pause:1"
PKI = NODE_FOLDER / "pki"


def kubeadm(plan: Plan, version: str) -> list[dict[str, Any]]:
    """For certificates and kubeconfigs only: kubeadm starts its programs from images."""
    api = "kubeadm.k8s.io/v1beta4"
    return [
        {
            "apiVersion": api,
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": plan.node_address, "bindPort": API_PORT},
            "nodeRegistration": {"name": NODE_NAME, "criSocket": f"unix://{CONTAINERD_SOCKET}"},
        },
        {
            "apiVersion": api,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": version,
            "certificatesDir": str(PKI),
            "encryptionAlgorithm": "ECDSA-P256",
            "controlPlaneEndpoint": f"{plan.node_address}:{API_PORT}",
            "networking": {"serviceSubnet": plan.services, "podSubnet": plan.pods},
        },
    ]


def containerd(plugins: Path) -> str:
    """TOML. ``plugins`` is the folder of the network plugins' programs."""
    return f"""\
version = 2
root = "{NODE_FOLDER}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE, as in most containers, a score cannot be below the parent's.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{NODE_FOLDER}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
SystemdCgroup = false
"""


def network(plan: Plan) -> str:
    """JSON. Pods are ports of one bridge."""
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni",
            "ranges": [[{"subnet": plan.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})


def kubelet(plan: Plan, max_open_files: int) -> dict[str, Any]:
    """Images are imported, never pulled: disk pressure must not make the node collect them."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.name}",
        "clusterDNS": [plan.dns_address],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "maxOpenFiles": max_open_files,
        "oomScoreAdj": 0,
        "resolvConf": f"{NODE_FOLDER}/resolv.conf",
        "rotateCertificates": False,
        # A pod that has just become ready is found by the next test at once.
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
    }


def kube_proxy(plan: Plan) -> dict[str, Any]:
    """Leave the limits of connection tracking alone: they belong to this machine."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": plan.pods,
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": f"{NODE_FOLDER}/kube-proxy.conf"},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "iptables": {"minSyncPeriod": "0s"},
        "oomScoreAdj": 0,
    }
