"""Write ``docs/configuration.md`` from the declarations in ``job.config``.

    python docs/generate.py

Keys, types, defaults, limits and meanings come from the dataclasses, preset values and error
messages from the loader.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from job.config.errors import ConfigError
from job.config.load import load_run, preset_names
from job.config.spec import RunSpec

TARGET = Path(__file__).with_name("configuration.md")

INTRODUCTION = """# Configuration

<!-- Written by docs/generate.py from job/config; do not edit. -->

A run is one YAML file. Only `uri` and `data.uri` must be given.

```yaml
uri: runs/first
preset: fashion
data:
  uri: packed/mnist
training:
  epochs: 5
```

```sh
dcgan-train train --config run.yaml --set workers.count=1 --dry-run
```

Later sources win, key by key: defaults, then the preset, then the file, then each `--set key=value`
in turn. `--preset` overrides `preset:` in the file. `--dry-run` prints the result and starts
nothing; the run folder keeps it as `run.yaml`, which `--config` reads back. The value of `--set` is
YAML: `--set model.image_size=[64,64]`, `--set training.epochs=null`. Quote it if your shell
interprets brackets.

Paths, here and on every command line, follow one rule: `~` and `~name` are home folders, and
relative ones start at the current folder. A `file://` URI is percent-decoded
(`file:///a/My%20Pictures`; a `%` is `%25`), a plain path is not. A URI that an earlier version
wrote undecoded is still found: it is read literally if only that name exists.

Secrets have no key here. boto3 finds S3 credentials in its usual places: `AWS_*` variables, a
profile, or a role.
"""

# One broken configuration a line; what the program says about it goes into the document.
MISTAKES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fashion", ("wrokers.count=4",)),
    ("fashion", ("training.epochs=many",)),
    ("fashion", ("model.generator.kernel_size=1",)),
    ("fashion", ("storage.secret_access_key=x",)),
    ("fashion", ("training.global_batch_size=64", "workers.count=3")),
    ("fashion", ("model.image_size=30",)),
    ("fashion", ("model.generator.upsampling=subpixel", "model.generator.kernel_size=4")),
    ("dcgan64", ("training.updates=simultaneous",)),
    ("fashion", ("training.jit_compile=true", "training.batch_norm=synchronized")),
)
REQUIRED = ("uri=runs/first", "data.uri=packed/mnist")


def configuration() -> str:
    """Return the document."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Keys",
            "",
            *_sections(RunSpec, ""),
            "## Presets",
            "",
            *_presets(),
            "## Mistakes",
            "",
            *_mistakes(),
        ]
    )


def _sections(cls: type, prefix: str) -> Iterator[str]:
    """Yield the heading, docstring and table of keys of a section, then its subsections."""
    hints = typing.get_type_hints(cls)
    nested = [
        field for field in dataclasses.fields(cls) if dataclasses.is_dataclass(hints[field.name])
    ]
    own = [field for field in dataclasses.fields(cls) if field not in nested]
    yield f"### `{prefix.rstrip('.')}`" if prefix else "### At the top"
    yield ""
    yield " ".join((cls.__doc__ or "").replace("``", "`").split())
    if own:
        yield ""
        yield "| key | type | default | allowed | meaning |"
        yield "| --- | --- | --- | --- | --- |"
        for field in own:
            cells = (
                f"`{prefix}{field.name}`",
                _type(hints[field.name]),
                _default(field),
                _allowed(field),
                field.metadata["doc"],
            )
            yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""
    for field in nested:
        yield from _sections(hints[field.name], f"{prefix}{field.name}.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(hint: Any) -> str:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    wanted = next(option for option in options if option is not type(None))
    if typing.get_origin(wanted) is tuple:
        return (
            "whole numbers"
            if typing.get_args(wanted)[-1] is Ellipsis
            else f"{len(typing.get_args(wanted))} whole numbers"
        )
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[wanted]


def _default(field: dataclasses.Field[Any]) -> str:
    return "none" if field.default == "" else _value(field.default)


def _value(value: Any) -> str:
    """Return a value as YAML."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def _allowed(field: dataclasses.Field[Any]) -> str:
    limits = field.metadata
    if limits["choices"]:
        return ", ".join(f"`{choice}`" for choice in limits["choices"])
    low, high = limits["minimum"], limits["maximum"]
    if limits["above"] is not None:
        return f"above {limits['above']:g}" + (f", at most {high:g}" if high is not None else "")
    if low is not None:
        return f"{low} to {high}" if high is not None else f"{low} or more"
    return f"at most {high}" if high is not None else ""


def _presets() -> Iterator[str]:
    """Yield the purpose of each preset, then a table of the keys that any of them sets."""
    names = sorted(
        preset_names(), key=lambda name: (load_run(name, check=False).model.image_size, name)
    )
    for name in names:
        text = (resources.files("job.config") / "presets" / f"{name}.yaml").read_text()
        head = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
        yield f"- `{name}`: {' '.join(head)}"
    default = _flat(RunSpec())
    presets = [_flat(load_run(name, check=False)) for name in names]
    changed = [
        key
        for key in default
        if key != "preset" and any(preset[key] != default[key] for preset in presets)
    ]
    yield ""
    yield "Values that differ from the default in any preset; a bold value differs."
    yield ""
    yield f"| key | default | {' | '.join(names)} |"
    yield "| --- " * (len(names) + 2) + "|"
    for key in changed:
        values = (
            _value(preset[key]) if preset[key] == default[key] else f"**{_value(preset[key])}**"
            for preset in presets
        )
        yield f"| `{key}` | {_value(default[key])} | {' | '.join(values)} |"
    yield ""


def _flat(spec: Any, prefix: str = "") -> dict[str, Any]:
    """Return all values by dotted key."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        flat |= (
            _flat(value, f"{prefix}{field.name}.")
            if dataclasses.is_dataclass(value)
            else {prefix + field.name: value}
        )
    return flat


def _mistakes() -> Iterator[str]:
    yield "Keys, values and their combinations are checked before any process starts. A mistake"
    yield "ends the program with exit code 2. For example:"
    yield ""
    yield "| preset | `--set` | message |"
    yield "| --- | --- | --- |"
    for preset, overrides in MISTAKES:
        try:
            load_run(preset, overrides=[*REQUIRED, *overrides])
        except ConfigError as error:
            settings = " ".join(f"`{override}`" for override in overrides)
            yield f"| `{preset}` | {settings} | {_cell(str(error))} |"
        else:
            raise AssertionError(
                f"--preset {preset} --set {overrides} is accepted; expected a mistake"
            )
    yield ""


if __name__ == "__main__":
    TARGET.write_text(configuration())
