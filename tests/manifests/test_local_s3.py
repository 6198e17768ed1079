"""Run the commands of `k8s/overlays/try` in a cluster's order, against the manifest's server."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.helm import Object, of_kind, only, templates
from tests.manifests.kustomize import K8S
from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.prometheus import http
from tests.servers.tools import require_tool

pytestmark = [pytest.mark.helm, pytest.mark.s3]

Built = dict[str, list[Object]]


@pytest.fixture
def env(built: Built, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start the Deployment's server on this machine; return the Job's variables."""
    keys = {
        name: base64.b64decode(value).decode()
        for name, value in only(built["try"], "Secret")["data"].items()
    }
    (server,) = only(built["try"], "Deployment")["spec"]["template"]["spec"]["containers"]
    for mount in server["volumeMounts"]:
        (tmp_path / mount["mountPath"].lstrip("/")).mkdir(parents=True)
    port = free_port()
    arguments = [
        word.replace(":7070", f"127.0.0.1:{port}").replace("/data/", f"{tmp_path}/data/")
        for word in server["args"]
    ]
    url = f"http://127.0.0.1:{port}"
    health = url + server["readinessProbe"]["httpGet"]["path"]
    command = [require_tool("versitygw"), *arguments]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "ROOT_", "VGW_", "RAY_"))
    }
    with server_process(
        command,
        lambda: _answers(health),
        tmp_path / "server.log",
        env=kept | _variables(server, keys),
    ):
        (pack,) = only(built["try"], "Job")["spec"]["template"]["spec"]["containers"]
        yield (
            kept
            | _variables(pack, keys)
            | {
                "AWS_ENDPOINT_URL": url,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        )


def _variables(container: Object, keys: dict[str, str]) -> dict[str, str]:
    return {
        each["name"]: each["value"]
        if "value" in each
        else keys[each["valueFrom"]["secretKeyRef"]["key"]]
        for each in container["env"]
    }


def _answers(url: str) -> bool:
    try:
        with http.open(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_run_waits_until_bucket_and_images_are_there(
    built: Built, env: dict[str, str], tmp_path: Path
) -> None:
    (config,) = (
        each["data"] for each in of_kind(built["try"], "ConfigMap") if "run.yaml" in each["data"]
    )
    (tmp_path / "run.yaml").write_text(
        config["run.yaml"].replace("http://s3:7070", env["AWS_ENDPOINT_URL"])
    )

    def run(container: Object, **more: str) -> subprocess.CompletedProcess[str]:
        """Its command, where the image's programs and mounts are those of this machine."""
        here = {
            "python": [sys.executable],
            "dcgan-train": [sys.executable, "-m", "job"],
            "/etc/make-bucket/make_bucket.py": [K8S / "components" / "local-s3" / "make_bucket.py"],
            "/etc/dcgan-train/run.yaml": [tmp_path / "run.yaml"],
        }
        command = [part for word in container["command"] for part in here.get(word, [word])]
        return subprocess.run(
            command, env=env | more, cwd=K8S.parent, capture_output=True, text=True, timeout=120
        )

    job = only(built["try"], "Job")["spec"]["template"]["spec"]
    (make_bucket,), (pack,) = job["initContainers"], job["containers"]
    (preflight,) = templates(only(built["try"], "RayJob"))["head"]["spec"]["initContainers"]
    address = next(each["value"] for each in preflight["env"] if each["name"] == "RAY_ADDRESS")

    assert "NoSuchBucket" in run(preflight, RAY_ADDRESS=address).stdout
    assert run(make_bucket).returncode == 0
    assert run(make_bucket).stderr == "", "it is there already"
    empty = run(preflight, RAY_ADDRESS=address)
    assert (empty.returncode, "index.json" in empty.stdout) == (5, True), empty.stdout
    assert "2,048 images 28x28x1" in run(pack).stdout
    ready = run(preflight, RAY_ADDRESS=address)
    assert ready.returncode == 0, ready.stdout
    assert "steps 0 to 960 of 32 images on 2 workers" in ready.stdout, ready.stdout
