"""Write the manifests of `k8s/` from the chart, for people without Helm.

    python k8s/generate.py

Renders the chart with `values.yaml` of this folder. Names lose the hash of their content and
metadata the common labels, because kustomize adds both. Comments are in the chart's templates.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parent
CHART = K8S.parent / "charts" / "dcgan-train"
_HEAD = "# Written by k8s/generate.py from charts/dcgan-train; do not edit.\n"
_HASH = re.compile(r"(\bname: dcgan-train(?:-config)?)-[0-9a-f]{8}$", re.MULTILINE)
_COMMON_LABELS = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
)
# What a component adds; everything else is in the base.
_MONITORING = ("podmonitor", "prometheusrule", "dashboards")


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, as in the chart."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def generated(helm: str | Path = "helm") -> dict[Path, str]:
    """Return the text of each generated file."""
    command = [helm, "template", "dcgan-train", CHART, "--values", K8S / "values.yaml"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    documents = dict(
        _for_kustomize(each)
        for each in yaml.safe_load_all(_HASH.sub(r"\1", rendered))
        if each and "helm.sh/hook" not in each["metadata"].get("annotations", {})
    )
    return {
        K8S / path: _HEAD + yaml.dump(document, None, _Dumper, sort_keys=False)
        for path, document in documents.items()
    }


def _for_kustomize(each: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an object without what kustomize or an overlay sets, and its file."""
    metadata, kind = each["metadata"], each["kind"].lower()
    if metadata["name"] == "dcgan-train-config":
        return "base/scripts/kustomization.yaml", _scripts(each)
    labels = {k: v for k, v in metadata["labels"].items() if k not in _COMMON_LABELS}
    each["metadata"] = {"name": metadata["name"], **({"labels": labels} if labels else {})}
    if kind == "configmap":  # the dashboards, each on one line: people edit those of the chart
        for name, text in each["data"].items():
            each["data"][name] = json.dumps(json.loads(text), separators=(",", ":")) + "\n"
        kind = "dashboards"
    folder = "components/monitoring" if kind in _MONITORING else "base"
    return f"{folder}/{kind}.yaml", each


def _scripts(config: dict[str, Any]) -> dict[str, Any]:
    """Return a generator for a ConfigMap without its run.yaml, so that its name gets a hash."""
    files = {name: text for name, text in config["data"].items() if name != "run.yaml"}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "configMapGenerator": [
            {
                "name": config["metadata"]["name"],
                "literals": [f"{name}={text}" for name, text in files.items()],
                "options": {"immutable": config["immutable"]},
            }
        ],
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
