"""The programs of the node in the order of their start: command, and health check.

Pure. Paths are those inside the node.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tests.e2e.cluster.configs import CONTAINERD_SOCKET, PKI
from tests.e2e.cluster.plan import API_PORT, NODE_FOLDER, NODE_NAME, Plan

_ETCD = "http://127.0.0.1:2379"


class Program(NamedTuple):
    """``health`` is a URL or the path of a listening socket; ``log`` names its log."""

    name: str
    command: list[str]
    health: str


def containerd() -> Program:
    return Program(
        "containerd",
        _command("containerd", {"config": NODE_FOLDER / "containerd.toml"}),
        str(CONTAINERD_SOCKET),
    )


def etcd() -> Program:
    """On disk only for inspection, and deleted with the cluster: nothing waits for the disk."""
    peer = "http://127.0.0.1:2380"
    options = {
        "name": NODE_NAME,
        "data-dir": NODE_FOLDER / "etcd",
        "listen-client-urls": _ETCD,
        "advertise-client-urls": _ETCD,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"{NODE_NAME}={peer}",
        "unsafe-no-fsync": "true",
    }
    return Program("etcd", _command("etcd", options), f"{_ETCD}/health")


def api_server(plan: Plan) -> Program:
    """Default admission, with PodSecurity; NodeRestriction as in every real cluster."""
    options = {
        "advertise-address": plan.node_address,
        "secure-port": API_PORT,
        "etcd-servers": _ETCD,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": PKI / "ca.crt",
        "tls-cert-file": PKI / "apiserver.crt",
        "tls-private-key-file": PKI / "apiserver.key",
        "kubelet-client-certificate": PKI / "apiserver-kubelet-client.crt",
        "kubelet-client-key": PKI / "apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": PKI / "sa.pub",
        "service-account-signing-key-file": PKI / "sa.key",
        "service-cluster-ip-range": plan.services,
        "requestheader-client-ca-file": PKI / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": PKI / "front-proxy-client.crt",
        "proxy-client-key-file": PKI / "front-proxy-client.key",
    }
    return Program("kube-apiserver", _command("kube-apiserver", options), f"{plan.api_url}/readyz")


def after_api_server(plan: Plan) -> list[Program]:
    """They find each other through the API server, so they may start together."""
    managers = {
        "kubeconfig": NODE_FOLDER / "controller-manager.conf",
        "authentication-kubeconfig": NODE_FOLDER / "controller-manager.conf",
        "authorization-kubeconfig": NODE_FOLDER / "controller-manager.conf",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": PKI / "sa.key",
        "root-ca-file": PKI / "ca.crt",
        "cluster-signing-cert-file": PKI / "ca.crt",
        "cluster-signing-key-file": PKI / "ca.key",
        "allocate-node-cidrs": "true",
        "cluster-cidr": plan.pods,
        "node-cidr-mask-size": 24,
        "service-cluster-ip-range": plan.services,
    }
    scheduler = {
        "kubeconfig": NODE_FOLDER / "scheduler.conf",
        "authentication-kubeconfig": NODE_FOLDER / "scheduler.conf",
        "authorization-kubeconfig": NODE_FOLDER / "scheduler.conf",
        "leader-elect": "false",
    }
    kubelet = {
        "config": NODE_FOLDER / "kubelet.yaml",
        "kubeconfig": NODE_FOLDER / "kubelet.conf",
        "root-dir": NODE_FOLDER / "kubelet",
        "cert-dir": NODE_FOLDER / "kubelet-pki",
        "hostname-override": NODE_NAME,
        "node-ip": plan.node_address,
    }
    proxy = {"config": NODE_FOLDER / "kube-proxy.yaml"}
    policies = {
        "kubeconfig": NODE_FOLDER / "super-admin.conf",
        "hostname-override": NODE_NAME,
        "service-cluster-ip-range": plan.services,
        "health-address": "127.0.0.1:10254",
    }
    return [
        Program(
            "kube-controller-manager",
            _command("kube-controller-manager", managers),
            "https://127.0.0.1:10257/healthz",
        ),
        Program(
            "kube-scheduler",
            _command("kube-scheduler", scheduler),
            "https://127.0.0.1:10259/healthz",
        ),
        Program("kubelet", _command("kubelet", kubelet), "http://127.0.0.1:10248/healthz"),
        Program("kube-proxy", _command("kube-proxy", proxy), "http://127.0.0.1:10256/healthz"),
        Program("netpol", _command("netpol", policies), "http://127.0.0.1:10254/healthz"),
    ]


def _command(program: str, options: Mapping[str, object]) -> list[str]:
    return [program, *(f"--{name}={value}" for name, value in options.items())]
