"""Write the generated parts of the chart.

    python charts/generate.py

The table of values in ``README.md`` is ``values.yaml`` with its ``# --`` comments. The part ``run``
of ``values.schema.json`` is the configuration of a run as ``job.config`` declares it, without the
keys that the chart sets; the rest of the schema is written by hand. ``files/run.json`` has, for the
templates, the defaults of each preset that they check, and the limits of numbers given as text.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from job.config.documents import preset_names
from job.config.load import load_run, to_dict
from job.config.schema import run_schema, without_null

CHART = Path(__file__).with_name("dcgan-train")
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
RUN = CHART / "files" / "run.json"
BEGIN, END = (
    "<!-- Values: written by charts/generate.py; do not edit. -->",
    "<!-- End of values. -->",
)

# Set by templates/_run.tpl from other values; metrics.host needs no change in a pod.
OF_THE_CHART = frozenset(
    (
        *(
            "workers.count",
            "workers.min",
            "workers.max",
            "workers.cpus",
            "workers.gpus",
            "data.cache_dir",
            "data.cache_bytes",
        ),
        *("metrics.port", "metrics.host"),
    )
)
STORES = r"^((s3|file)://.+)?$"  # paths of a laptop mean nothing in a pod
ORIGINS = r"^(auto|never|(s3|file)://.+)$"
NUMBER = r"^[0-9]{0,20}\.?[0-9]{1,20}([eE][-+]?[0-9]{1,2})?$"
# The keys that templates/_refuse_run.tpl checks.
CHECKED = {
    "data": ("fetch_patience_seconds",),
    "model": ("image_size", "channels", "generator", "discriminator"),
    "training": ("global_batch_size", "epochs", "steps", "updates", "batch_norm", "jit_compile"),
    "checkpoints": ("fail_after_seconds", "grace_seconds", "resume"),
    "watchdog": ("start_seconds", "checkpoint_seconds", "train_seconds"),
    "storage": (
        "endpoint_url",
        "server_side_encryption",
        "kms_key_id",
        "connect_timeout_seconds",
        "read_timeout_seconds",
    ),
}


def schema() -> str:
    """Return ``values.schema.json`` with the current ``properties.run``."""
    document = json.loads(SCHEMA.read_text())
    document["properties"]["run"] = {**_section(run_schema(), ""), "required": ["uri", "data"]}
    return json.dumps(document, indent=2) + "\n"


def _section(section: dict[str, Any], prefix: str) -> dict[str, Any]:
    properties = {}
    for name, value in section["properties"].items():
        key = prefix + name
        if "properties" in value:
            properties[name] = _section(value, f"{key}.")
        elif key not in OF_THE_CHART:
            properties[name] = {"description": value["description"], **_key(key, value)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _key(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a key.

    A number may be text: YAML reads 2e-4 as text, and Helm's `--set` passes 0.5 as text.
    """
    if name in ("uri", "data.uri"):
        return {"type": "string", "pattern": STORES}
    if name == "checkpoints.resume":
        return {"type": "string", "pattern": ORIGINS}
    if name == "preset":
        return {"enum": [*preset_names(), None]}
    kind = without_null(value)
    null = [] if kind is value else [None]
    if choices := kind.get("enum", [kind["const"]] if "const" in kind else []):
        return {"enum": [*choices, *null]}
    limits = {limit: kind[limit] for limit in kind if limit not in ("description", "default")}
    if kind.get("type") == "number":
        limits |= {"type": ["number", "string"], "pattern": NUMBER}
    if null:
        types = limits["type"] if isinstance(limits["type"], list) else [limits["type"]]
        limits["type"] = [*types, "null"]
    return limits


def run() -> str:
    """Return ``files/run.json``."""
    defaults = {}
    for preset in (None, *preset_names()):
        values = to_dict(load_run(preset, check=False))
        defaults[preset or ""] = {
            section: {name: values[section][name] for name in names}
            for section, names in CHECKED.items()
        }
    return (
        json.dumps({"defaults": defaults, "limits": dict(_limits(run_schema(), ""))}, indent=1)
        + "\n"
    )


def _limits(section: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield (key, limits) of every number that a user may give as text."""
    names = {"minimum": "minimum", "exclusiveMinimum": "above", "maximum": "maximum"}
    for name, value in section["properties"].items():
        kind = without_null(value)
        if "properties" in value:
            yield from _limits(value, f"{prefix}{name}.")
        elif kind.get("type") == "number" and prefix + name not in OF_THE_CHART:
            yield prefix + name, {to: kind[limit] for limit, to in names.items() if limit in kind}


def readme() -> str:
    """Return ``README.md`` with the current table."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", "", *_table(), "", f"{END}{after}"])


def _table() -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "| --- | --- | --- |"
    for key, default, text in documented(CHART.joinpath("values.yaml").read_text()):
        shown = "unset" if default is None else f"`{json.dumps(default)}`"
        cell = text.replace("|", "\\|")
        yield f"| `{key}` | {shown} | {cell} |"


def documented(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield (key, default, meaning) of every ``# --`` comment of a values.yaml.

    A comment documents the key that follows it.
    """
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if started := re.match(r"\s*# -- (.*)", line):
            comment = [started[1]]
        elif comment and (more := re.match(r"\s*# (.*)", line)):
            comment.append(more[1])
        elif key := re.match(r"( *)([A-Za-z]\w*):", line):
            path = [(indent, name) for indent, name in path if indent < len(key[1])] + [
                (len(key[1]), key[2])
            ]
            if comment:
                names = [name for _, name in path]
                default = values
                for name in names:
                    default = default[name]
                yield ".".join(names), default, " ".join(comment)
            comment = []


if __name__ == "__main__":
    SCHEMA.write_text(schema())
    RUN.write_text(run())
    README.write_text(readme())
