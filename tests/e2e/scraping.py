"""A Prometheus that scrapes the pods which a PodMonitor selects, without the operator that would read the PodMonitor.

Runs on this machine, finds pods by the API server, and asks them at their own addresses, which therefore have to be reachable from here.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.prometheus import Prometheus, http
from tests.servers.tools import require_tool


@contextmanager
def monitored(monitor: Mapping[str, Any], kubeconfig: Path, folder: Path) -> Iterator[Prometheus]:
    """``monitor`` is the PodMonitor as helm renders it."""
    program = require_tool("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": scrape_configs(monitor, kubeconfig)}))
    url = f"http://127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        program,
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

    with server_process(command, ready, folder / "prometheus.log", ready_seconds=60):
        yield Prometheus(url)


def reaches_pods(address: str) -> bool:
    """Whether this machine has a way to a pod: one that refuses a connection has answered, one beyond reach says nothing."""
    try:
        with socket.create_connection((address, 1), timeout=5):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def scrape_configs(monitor: Mapping[str, Any], kubeconfig: Path) -> list[dict[str, Any]]:
    """What the Prometheus operator makes of it, as far as ours goes: labels to match, a port's name, labels to take along."""
    spec = monitor["spec"]
    assert set(spec) == {"selector", "podTargetLabels", "podMetricsEndpoints"}
    assert set(spec["selector"]) == {"matchLabels"}
    chosen = [_keep(_label(name), value) for name, value in spec["selector"]["matchLabels"].items()]
    taken = [_copy(_label(name), _cleaned(name)) for name in spec["podTargetLabels"]]
    taken += [_copy("__meta_kubernetes_pod_name", "pod"), _copy("__meta_kubernetes_namespace", "namespace")]
    discovery = {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": [monitor["metadata"]["namespace"]]}}
    return [
        {
            "job_name": f"{monitor['metadata']['name']}/{endpoint['port']}",
            "scrape_interval": endpoint["interval"],
            "kubernetes_sd_configs": [discovery],
            "relabel_configs": [*chosen, _keep("__meta_kubernetes_pod_container_port_name", endpoint["port"]), *taken],
        }
        for endpoint in spec["podMetricsEndpoints"]
    ]


def _keep(label: str, value: str) -> dict[str, Any]:
    return {"action": "keep", "source_labels": [label], "regex": value.replace(".", r"\.")}


def _copy(label: str, to: str) -> dict[str, Any]:
    return {"source_labels": [label], "target_label": to}


def _label(name: str) -> str:
    return f"__meta_kubernetes_pod_label_{_cleaned(name)}"


def _cleaned(name: str) -> str:
    """As Prometheus writes a name of Kubernetes."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
