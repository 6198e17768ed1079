"""kustomize, run on the folders of ``k8s/``: the objects that `kubectl apply -k` would send.

kustomize = Kustomize(require_tool("kustomize"), tmp_path)
objects = kustomize.build(K8S / "overlays" / "gpu")
objects = kustomize.with_components("monitoring")    # the base with a component
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.charts.helm import Object
from tests.servers.tools import ROOT

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))


@dataclass(frozen=True)
class Kustomize:
    """``program`` is its path; ``folder`` is for overlays like a user's."""

    program: Path
    folder: Path

    def build(self, folder: Path) -> list[Object]:
        """Return all objects, or raise ``AssertionError`` with the message."""
        done = subprocess.run(
            [self.program, "build", folder], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        # Warnings too: they name fields that a next version drops.
        assert done.stderr == "", done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def with_components(self, *names: str, **more: object) -> list[Object]:
        """An overlay of the base with components, and ``more`` of the fields of a kustomization."""
        overlay = self.folder / "-".join((*names, *more))
        overlay.mkdir()
        components = [os.path.relpath(K8S / "components" / name, overlay) for name in names]
        written = {
            "namespace": "training",
            "resources": [os.path.relpath(K8S / "base", overlay)],
            "components": components,
            **more,
        }
        overlay.joinpath("kustomization.yaml").write_text(yaml.safe_dump(written))
        return self.build(overlay)
