"""Writes what the manifests share with the chart: stop.py, dashboards, alerts. kustomize reads no file outside of its folder, not even by a link.

    python k8s/generate.py

Dashboards lose their line breaks: they are edited in the chart, or in Grafana, never here.
"""

import json
from pathlib import Path

import yaml

K8S = Path(__file__).parent
FILES = K8S.parent / "charts" / "dcgan-train" / "files"
_DO_NOT_EDIT = "# Written by k8s/generate.py from charts/dcgan-train/files/rules; do not edit.\n"


def generated() -> dict[Path, str]:
    """Contents by path."""
    monitoring = K8S / "components" / "monitoring"
    dashboards = {
        monitoring / path.name: _on_one_line(path)
        for path in sorted(FILES.glob("dashboards/*.json"))
    }
    return {
        **{
            K8S / "base" / name: (FILES / name).read_text()
            for name in ("stop.py", "credentials.py", "aws-config")
        },
        monitoring / "prometheusrule.yaml": _DO_NOT_EDIT
        + yaml.safe_dump(_prometheus_rule(), sort_keys=False, width=140),
        **dashboards,
    }


def _on_one_line(path: Path) -> str:
    return json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n"


def _prometheus_rule() -> dict:
    """The groups of all files, in the order of their names, as in the chart."""
    groups = [
        group
        for path in sorted(FILES.glob("rules/*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "dcgan-train"},
        "spec": {"groups": groups},
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
