"""Write the generated parts of the chart.

    python charts/generate.py

The table of values in ``README.md`` is ``values.yaml`` with its ``# --`` comments. The part ``run``
of ``values.schema.json`` is the configuration of a run as ``job.config`` declares it, without the
keys that the chart sets; the rest of the schema is written by hand. ``files/run.json`` has, for the
templates, the defaults of each preset that they check, and the limits of numbers given as text.
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from job.config.load import load_run, preset_names, to_dict
from job.config.spec import RunSpec

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
    document["properties"]["run"] = {**_section(RunSpec, ""), "required": ["uri", "data"]}
    return json.dumps(document, indent=2) + "\n"


def _section(cls: type, prefix: str) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        name, hint = prefix + field.name, hints[field.name]
        if dataclasses.is_dataclass(hint):
            properties[field.name] = _section(typing.cast(type, hint), name + ".")
        elif name not in OF_THE_CHART:
            properties[field.name] = {
                "description": field.metadata["doc"],
                **_key(name, hint, field.metadata),
            }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _key(name: str, hint: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a key.

    A ``float`` may be text: YAML reads 2e-4 as text, and Helm's `--set` passes 0.5 as text.
    """
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    wanted = next(option for option in options if option is not type(None))
    if name in ("uri", "data.uri"):
        return {"type": "string", "pattern": STORES}
    if name == "checkpoints.resume":
        return {"type": "string", "pattern": ORIGINS}
    if name == "preset":
        return {"enum": [*sorted(preset_names()), None]}
    if typing.get_origin(wanted) is tuple:
        numbers = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}}
        if typing.get_args(wanted)[-1] is Ellipsis:
            return numbers
        exact = len(typing.get_args(wanted))
        return {
            "anyOf": [
                numbers | {"minItems": exact, "maxItems": exact},
                {"type": "integer", "minimum": 1},
            ]
        }
    if limits["choices"]:
        return {"enum": [*limits["choices"], *([None] if type(None) in options else [])]}
    kind = {bool: ["boolean"], int: ["integer"], float: ["number", "string"], str: ["string"]}[
        wanted
    ]
    if limits["unit"] == "bytes":
        kind.append("string")
    if type(None) in options:
        kind.append("null")
    limited = {
        "minimum": limits["minimum"],
        "maximum": limits["maximum"],
        "exclusiveMinimum": limits["above"],
    }
    number = (
        {"pattern": r"^[0-9]{0,20}\.?[0-9]{1,20}([eE][-+]?[0-9]{1,2})?$"} if wanted is float else {}
    )
    return {
        "type": kind if len(kind) > 1 else kind[0],
        **{key: value for key, value in limited.items() if value is not None},
        **number,
    }


def run() -> str:
    """Return ``files/run.json``."""
    defaults = {}
    for preset in (None, *preset_names()):
        values = to_dict(load_run(preset, check=False))
        defaults[preset or ""] = {
            section: {name: values[section][name] for name in names}
            for section, names in CHECKED.items()
        }
    return json.dumps({"defaults": defaults, "limits": dict(_limits(RunSpec, ""))}, indent=1) + "\n"


def _limits(cls: type, prefix: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield (key, limits) of every number that a user may give as text."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _limits(typing.cast(type, hints[field.name]), f"{prefix}{field.name}.")
        elif hints[field.name] in (float, float | None) and prefix + field.name not in OF_THE_CHART:
            yield (
                prefix + field.name,
                {
                    name: value
                    for name in ("minimum", "above", "maximum")
                    if (value := field.metadata[name]) is not None
                },
            )


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
