"""An S3 store in the cluster: k8s/components/local-s3 in a namespace, also reached from here.

with in_cluster_store(cluster, folder) as store:
    bucket = store.server.new_bucket()             # from here
    store.keys(namespace, "s3-keys")               # for pods, which find it at store.pods_url
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.images import File, write_image
from tests.servers.process import server_process
from tests.servers.s3 import REGION, S3Server, S3User
from tests.servers.tools import ROOT, require_tool

_SERVER = ROOT / "k8s" / "components" / "local-s3" / "server.yaml"
_PORT = 7070


@dataclass(frozen=True)
class Store:
    """``server`` is how this machine sees it, ``pods_url`` how pods do."""

    cluster: Cluster
    server: S3Server
    pods_url: str

    def keys(self, namespace: str, name: str, user: S3User | None = None) -> None:
        """A Secret as the chart takes it, of ``user`` or of the one who may do everything."""
        who = user or S3User(self.server.access_key, self.server.secret_key)
        text = {
            "AWS_ACCESS_KEY_ID": who.access_key,
            "AWS_SECRET_ACCESS_KEY": who.secret_key,
            "AWS_REGION": REGION,
        }
        _apply(self.cluster, namespace, _secret(name, text))


@contextmanager
def in_cluster_store(cluster: Cluster, folder: Path) -> Iterator[Store]:
    """The store, answering; gone with all in it after the block."""
    program = require_tool("versitygw")
    namespace = f"store-{secrets.token_hex(4)}"
    user = S3User(f"test{secrets.token_hex(6)}", secrets.token_urlsafe(24))
    cluster.kubectl("create", "namespace", namespace)
    try:
        cluster.kubectl(
            "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"
        )
        _apply(
            cluster,
            namespace,
            _secret(
                "s3-keys",
                {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key},
            ),
        )
        objects = _objects()
        if cluster.is_own:
            _load_server(cluster, folder, program, _container(objects)["image"])
        _apply(cluster, namespace, *objects)
        cluster.kubectl(
            "-n", namespace, "rollout", "status", "deployment/s3", "--timeout=300s", timeout=330
        )
        with forwarded(cluster, namespace, folder / "port-forward.log") as url:
            server = S3Server(url, user.access_key, user.secret_key, REGION, folder, program)
            yield Store(cluster, server, f"http://s3.{namespace}.svc:{_PORT}")
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _objects() -> list[dict[str, Any]]:
    """Return the component's objects, with a region from the Secret and a folder for users."""
    objects = list(yaml.safe_load_all(_SERVER.read_text()))
    args = _container(objects)["args"]
    args[args.index("--region") + 1] = REGION
    args[args.index("posix") : args.index("posix")] = [
        "--iam-cache-disable",
        "--iam-dir",
        "/data/attributes",
    ]
    return objects


def _container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def _load_server(cluster: Cluster, folder: Path, program: Path, image: str) -> None:
    """The same program under the name that the manifest asks a registry for."""
    archive = folder / "s3-image.tar"
    write_image(archive, image, {"/bin/versitygw": File(program)}, ["/bin/versitygw"])
    cluster.load_image(archive)
    archive.unlink()


@contextmanager
def forwarded(cluster: Cluster, namespace: str, log: Path) -> Iterator[str]:
    """The store's URL for this machine, whatever network it shares with the cluster."""
    command = ["kubectl", "-n", namespace, "port-forward", "service/s3", f":{_PORT}"]

    def found() -> re.Match[str] | None:
        return re.search(r"Forwarding from (127\.0\.0\.1:\d+)", log.read_text())

    with server_process(command, lambda: found() is not None, log, env=os.environ | cluster.env()):
        match = found()
        assert match
        yield f"http://{match[1]}"


def _secret(name: str, text: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": text}


def _apply(cluster: Cluster, namespace: str, *objects: dict[str, Any]) -> None:
    """By standard input, so that the process list shows no keys."""
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
