"""Folders of Go modules pinned in ``tests/tools/*/go.mod``, which contain CRDs to check against."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.tools import ROOT, skip_or_fail


@functools.cache
def module_folder(tool: str, module: str) -> Path:
    """Return the folder of ``module`` as required by ``tests/tools/TOOL/go.mod``.

    Without Go the test skips, or fails if DCGAN_REQUIRE_TOOLS=1 (CI).
    """
    go = shutil.which("go")
    if go is None:
        skip_or_fail(
            "go: not found on PATH; expected Go 1.26 or newer, whose modules have the CRDs"
        )
    environment = os.environ | {"GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    command = [go, "mod", "download", "-json", module]
    done = subprocess.run(
        command,
        cwd=ROOT / "tests" / "tools" / tool,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return Path(json.loads(done.stdout)["Dir"])


def kuberay_crd() -> Path:
    return (
        module_folder("rayjob", "github.com/ray-project/kuberay/ray-operator")
        / "config"
        / "crd"
        / "bases"
        / "ray.io_rayjobs.yaml"
    )


def kuberay_operator() -> Path:
    """Its Deployment, as kustomize installs it."""
    return (
        module_folder("rayjob", "github.com/ray-project/kuberay/ray-operator")
        / "config"
        / "manager"
        / "manager.yaml"
    )


def monitoring_crds() -> list[Path]:
    folder = (
        module_folder("kubeconform", "github.com/prometheus-operator/prometheus-operator")
        / "example"
        / "prometheus-operator-crd"
    )
    return [
        folder / f"monitoring.coreos.com_{name}.yaml" for name in ("podmonitors", "prometheusrules")
    ]
