"""The cluster has what the chart's tests need: pods, names, services, jobs, admission, KubeRay."""

import json
import os
import re

import pytest
import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.images import File, Link, write_image
from tests.servers.prometheus import http, wait_for
from tests.servers.tools import ROOT, require_tool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_IMAGE = "localhost/busybox:1"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="session")
def busybox(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's busybox-static as an image."""
    if not cluster.is_own:
        return "busybox:1.36"
    archive = tmp_path_factory.mktemp("busybox") / "busybox.tar"
    applets = ("sh", "wget", "nslookup", "httpd", "sleep", "cat", "id", "tail", "timeout")
    links = {f"/bin/{applet}": Link("busybox") for applet in applets}
    write_image(
        archive, _IMAGE, {"/bin/busybox": File(require_tool("busybox")), **links}, ["/bin/sh"]
    )
    cluster.load_image(archive)
    return _IMAGE


def _pod(name: str, image: str, script: str) -> dict:
    container = {
        "name": "main",
        "image": image,
        "command": ["/bin/sh", "-c", script],
        "securityContext": _RESTRICTED | {"runAsUser": 65532},
    }
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": spec,
    }


def _apply(cluster: Cluster, namespace: str, *objects: dict) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def _pinned(module: str) -> str:
    found = re.search(
        rf"^\s*{re.escape(module)} (v\S+)",
        (ROOT / "tests/tools/kubernetes/go.mod").read_text(),
        re.MULTILINE,
    )
    assert found
    return found[1]


@pytest.fixture
def service(cluster: Cluster, namespace: str, busybox: str) -> str:
    """A web server behind a service named ``web``; the service's address."""
    web = _pod("web", busybox, "echo found > /tmp/index.html && exec httpd -f -p 8080 -h /tmp")
    ports = [{"port": 80, "targetPort": 8080}]
    _apply(
        cluster,
        namespace,
        web,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": ports},
        },
    )
    cluster.kubectl(
        "-n", namespace, "wait", "pod/web", "--for=condition=Ready", "--timeout=120s", timeout=150
    )
    return cluster.kubectl(
        "-n", namespace, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"
    )


def test_the_node_is_ready_and_of_the_pinned_version(cluster: Cluster) -> None:
    if not cluster.is_own:
        pytest.skip("KUBECONFIG names the cluster")
    (node,) = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    conditions = {
        condition["type"]: condition["status"] for condition in node["status"]["conditions"]
    }
    assert conditions["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == _pinned("k8s.io/kubernetes")
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"][
        "gitVersion"
    ] == _pinned("k8s.io/kubernetes")


def test_a_pod_runs_and_is_looked_into(cluster: Cluster, namespace: str, busybox: str) -> None:
    _apply(cluster, namespace, _pod("hello", busybox, "echo hello from $(id -u); exec sleep 600"))
    cluster.kubectl(
        "-n", namespace, "wait", "pod/hello", "--for=condition=Ready", "--timeout=120s", timeout=150
    )
    assert cluster.kubectl("-n", namespace, "logs", "hello") == "hello from 65532\n"
    assert (
        cluster.kubectl("-n", namespace, "exec", "hello", "--", "cat", "/proc/1/comm") == "sleep\n"
    )


def test_a_service_is_found_by_name_from_a_pod(
    cluster: Cluster, namespace: str, busybox: str, service: str
) -> None:
    name = f"web.{namespace}.svc.cluster.local"
    script = f"nslookup {name} && wget -qO- http://web/ && wget -qO- http://{name}/"
    _apply(cluster, namespace, _pod("client", busybox, script))
    cluster.kubectl(
        "-n",
        namespace,
        "wait",
        "pod/client",
        "--for=jsonpath={.status.phase}=Succeeded",
        "--timeout=120s",
        timeout=150,
    )
    printed = cluster.kubectl("-n", namespace, "logs", "client")
    assert f"Address: {service}" in printed
    assert printed.endswith("found\nfound\n")


def test_this_machine_reaches_services(cluster: Cluster, service: str) -> None:
    """So a Prometheus or an S3 client of a test needs no port-forward."""
    if not cluster.is_own:
        pytest.skip("KUBECONFIG names the cluster")

    def page() -> bytes:
        try:
            with http.open(f"http://{service}/", timeout=10) as answer:
                return answer.read()
        except OSError:  # kube-proxy has not heard of the pod yet
            return b""

    assert wait_for("the service", page) == b"found\n"


def test_a_network_policy_is_kept(
    cluster: Cluster, namespace: str, busybox: str, service: str
) -> None:
    """One client is let in and the other is not: both on the web server's own node and bridge."""
    if not cluster.is_own:
        pytest.skip("KUBECONFIG names the cluster, and its network plug-in may keep none")
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "friend"}}}],
                "ports": [{"port": 8080}],
            }
        ],
    }
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": spec,
    }
    once = f"timeout 3 wget -qO- http://{service}/"
    script = f"until {once} || [ $((tries += 1)) = 5 ]; do sleep 1; done; echo tried"
    _apply(cluster, namespace, policy)
    _apply(
        cluster,
        namespace,
        _pod("friend", busybox, script),
        _pod("stranger", busybox, f"sleep 2; {script}"),
    )
    for name, printed in (("friend", "found\ntried\n"), ("stranger", "tried\n")):
        cluster.kubectl(
            "-n",
            namespace,
            "wait",
            f"pod/{name}",
            "--for=jsonpath={.status.phase}=Succeeded",
            "--timeout=120s",
            timeout=150,
        )
        lines = [
            line
            for line in cluster.kubectl("-n", namespace, "logs", name).splitlines(keepends=True)
            if not line.startswith("wget:")
        ]
        assert "".join(lines) == printed


def test_a_job_completes(cluster: Cluster, namespace: str, busybox: str) -> None:
    template = {"spec": _pod("once", busybox, "echo done")["spec"]}
    _apply(
        cluster,
        namespace,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {"template": template},
        },
    )
    cluster.kubectl(
        "-n",
        namespace,
        "wait",
        "job/once",
        "--for=condition=Complete",
        "--timeout=120s",
        timeout=150,
    )
    assert cluster.kubectl("-n", namespace, "logs", "job/once") == "done\n"


def test_a_pod_gets_no_more_memory_than_its_limit(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    pod = _pod("greedy", busybox, "tail /dev/zero")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "500m", "memory": "32Mi"}}
    _apply(cluster, namespace, pod)
    cluster.kubectl(
        "-n",
        namespace,
        "wait",
        "pod/greedy",
        "--for=jsonpath={.status.phase}=Failed",
        "--timeout=120s",
        timeout=150,
    )
    reason = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
    assert cluster.kubectl("-n", namespace, "get", "pod", "greedy", "-o", reason) == "OOMKilled"


def test_a_pod_that_is_not_restricted_is_refused(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    pod = _pod("root", busybox, "true")
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(RuntimeError, match='violates PodSecurity "restricted:latest"'):
        _apply(cluster, namespace, pod)


def test_a_service_account_may_do_what_its_role_says_and_no_more(
    cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl("-n", namespace, "create", "serviceaccount", "reader")
    cluster.kubectl(
        "-n", namespace, "create", "role", "reader", "--verb=get,list", "--resource=pods"
    )
    cluster.kubectl(
        "-n",
        namespace,
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        f"--serviceaccount={namespace}:reader",
    )
    token = cluster.kubectl("-n", namespace, "create", "token", "reader").strip()
    server = cluster.kubectl(
        "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"
    )
    # An empty kubeconfig: the administrator's certificate would win over the token.
    as_reader = [
        f"--kubeconfig={os.devnull}",
        f"--server={server}",
        "--insecure-skip-tls-verify",
        f"--token={token}",
        "-n",
        namespace,
    ]
    assert cluster.kubectl(*as_reader, "get", "pods", "-o", "name") == ""
    with pytest.raises(
        RuntimeError,
        match=f'system:serviceaccount:{namespace}:reader" cannot list resource "secrets"',
    ):
        cluster.kubectl(*as_reader, "get", "secrets")


def test_the_operator_makes_pods_of_a_ray_job(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    """Ray is not in this image: the head's container is started and ends by itself."""
    container = {
        "name": "ray",
        "image": busybox,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "limits": {"cpu": "100m", "memory": "128Mi"},
            "requests": {"cpu": "100m", "memory": "128Mi"},
        },
        "securityContext": _RESTRICTED | {"runAsUser": 65532},
    }
    pod = {"spec": {"containers": [container]}}
    workers = {
        "groupName": "workers",
        "replicas": 2,
        "minReplicas": 2,
        "maxReplicas": 2,
        "rayStartParams": {},
        "template": pod,
    }
    cluster_spec = {
        "rayVersion": "2.60.0",
        "headGroupSpec": {"rayStartParams": {}, "template": pod},
        "workerGroupSpecs": [workers],
    }
    spec = {"entrypoint": "true", "rayClusterSpec": cluster_spec}
    _apply(
        cluster,
        namespace,
        {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "job"}, "spec": spec},
    )

    def pods() -> list[str]:
        # KubeRay's init container copies the main one's security context, so all are admitted.
        found = json.loads(
            cluster.kubectl("-n", namespace, "get", "pods", "-l", "ray.io/node-type", "-o", "json")
        )["items"]
        return sorted(pod["metadata"]["labels"]["ray.io/node-type"] for pod in found)

    wait_for("a head and two workers", lambda: pods() == ["head", "worker", "worker"], 60)
    assert (
        cluster.kubectl(
            "-n", namespace, "get", "rayjob", "job", "-o", "jsonpath={.status.jobDeploymentStatus}"
        )
        == "Initializing"
    )
