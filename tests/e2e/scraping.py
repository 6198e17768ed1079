"""A Prometheus that scrapes the pods of a PodMonitor, without the Prometheus operator.

Runs on this machine and asks pods at their addresses, which have to be reachable from here. Pods
are found with the monitor's selector and written into a file:
Debian's Prometheus is built without Kubernetes discovery.
"""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.prometheus import Prometheus, http
from tests.servers.tools import require_tool


@contextmanager
def monitored(cluster: Cluster, monitor: Mapping[str, Any], folder: Path) -> Iterator[Prometheus]:
    """Scrape the pods that ``monitor``, a rendered PodMonitor, selects now."""
    program = require_tool("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": scrape_configs(cluster, monitor)}))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url[7:]}",
    ]

    def ready() -> bool:
        try:
            with http.open(f"{url}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    with server_process(command, ready, folder / "prometheus.log", ready_seconds=120):
        yield Prometheus(url)


def scrape_configs(cluster: Cluster, monitor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return labels to match, the port's name and labels to keep, as the operator reads them."""
    spec, namespace = monitor["spec"], monitor["metadata"]["namespace"]
    assert set(spec) == {"selector", "podTargetLabels", "podMetricsEndpoints"}
    assert set(spec["selector"]) == {"matchLabels"}
    selector = ",".join(
        f"{name}={value}" for name, value in spec["selector"]["matchLabels"].items()
    )
    pods = json.loads(
        cluster.kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json")
    )["items"]
    return [
        {
            "job_name": f"{monitor['metadata']['name']}/{endpoint['port']}",
            "scrape_interval": endpoint["interval"],
            "static_configs": [
                target
                for pod in pods
                for target in _targets(pod, endpoint["port"], spec["podTargetLabels"])
            ],
        }
        for endpoint in spec["podMetricsEndpoints"]
    ]


def own_address(cluster: Cluster) -> str | None:
    """Return this machine's address as pods see it, None if they cannot reach it.

    Asks a system pod, to which no policy of the chart applies.
    """
    pods = json.loads(cluster.kubectl("-n", "kube-system", "get", "pods", "-o", "json"))["items"]
    own_network = [
        pod["status"]
        for pod in pods
        if not pod["spec"].get("hostNetwork") and pod["status"]["phase"] == "Running"
    ]
    address = next(
        (status["podIP"] for status in own_network if "." in status.get("podIP", "")), None
    )
    if address is None:
        return None
    with contextlib.suppress(
        ConnectionRefusedError
    ):  # nothing listens there, but the pod has answered
        if not connects(address, 1):
            return None
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((address, 1))
        return str(probe.getsockname()[0])


def connects(address: str, port: int) -> bool:
    """Return whether a pod accepts a connection; raise ``ConnectionRefusedError`` if refused."""
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except ConnectionRefusedError:
        raise
    except OSError:
        return False


def _targets(pod: Mapping[str, Any], port_name: str, taken: list[str]) -> list[dict[str, Any]]:
    """The ports of this name, with the labels that they get."""
    meta = pod["metadata"]
    labels = {_label(name): meta["labels"][name] for name in taken} | {
        "pod": meta["name"],
        "namespace": meta["namespace"],
    }
    ports = [
        port
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("name") == port_name
    ]
    return [
        {"targets": [f"{pod['status']['podIP']}:{port['containerPort']}"], "labels": labels}
        for port in ports
    ]


def _label(name: str) -> str:
    """As Prometheus writes a name of Kubernetes."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
