"""JSON schemas for kubeconform: Kubernetes' from PyPI's ``kubernetes-validate``, and those of CRDs.

They are made strict: a key that is not in a schema is an error, because the API server drops it.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

KUBERNETES = "1.34.0"
BUILT_IN = (
    "configmap-v1",
    "serviceaccount-v1",
    "pod-v1",
    "networkpolicy-networking-v1",
    "poddisruptionbudget-policy-v1",
)
LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"  # kubeconform's own way to name them


def write_schemas(folder: Path, crds: list[Path], built_in: Sequence[str] = BUILT_IN) -> None:
    """One file a kind, each whole in itself."""
    package = find_spec("kubernetes_validate")  # looked up, not imported: only its data are wanted
    assert package is not None, "kubernetes-validate is not installed; run `make venv`"
    (root,) = package.submodule_search_locations or ()
    source = Path(root) / "kubernetes-json-schema" / f"v{KUBERNETES}-local"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    for name in built_in:
        schema = json.loads((source / f"{name}.json").read_text())
        del schema["$id"]  # what references to the shared file start from
        schema["$defs"] = _reachable(schema, definitions)
        folder.joinpath(f"{name}.json").write_text(json.dumps(_strict(schema)))
    for crd in crds:
        spec = yaml.load(crd.read_text(), Loader=yaml.CSafeLoader)["spec"]
        group = spec["group"].partition(".")[0]
        for version in spec["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            folder.joinpath(
                f"{spec['names']['kind'].lower()}-{group}-{version['name']}.json"
            ).write_text(json.dumps(schema))


def _reachable(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The definitions that ``schema`` refers to, and those that these refer to."""
    found: dict[str, Any] = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            name = _name(part.get("$ref"))
            if name in definitions and name not in found:
                found[name] = definitions[name]
                waiting.append(definitions[name])
            waiting += part.values()
    return found


def _name(reference: Any) -> str:
    """Return a definition of this file (``#/$defs/NAME``) or of the shared one."""
    return str(reference or "").rpartition("/")[2]


def _strict(schema: Any) -> Any:
    """Reject unknown keys in objects with listed keys; translate Kubernetes' OpenAPI extensions."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("$ref"), str):
        made["$ref"] = f"#/$defs/{_name(schema['$ref'])}"
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if (
        isinstance(schema.get("properties"), dict)
        and not is_open
        and "object" in schema.get("type", ())
    ):
        made["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        made["type"] = [schema["type"], "null"]
    return made
