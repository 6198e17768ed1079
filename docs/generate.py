"""Write ``docs/configuration.md`` and ``docs/run.schema.json`` from ``job.config``.

    python docs/generate.py

Keys, types, defaults, limits and meanings come from the JSON Schema of the configuration, preset
values and error messages from the loader.
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from job.config.documents import preset_names
from job.config.errors import ConfigError
from job.config.load import load_run, to_dict
from job.config.schema import editor_schema, run_schema, without_null
from job.config.spec import RunSpec

TARGET = Path(__file__).with_name("configuration.md")
SCHEMA = Path(__file__).with_name("run.schema.json")

INTRODUCTION = """# Configuration

<!-- Written by docs/generate.py from job/config; do not edit. -->

A run is one YAML file. Only `uri` and `data.uri` must be given. `config init` writes a commented
one for a preset, and overwrites nothing:

<!-- not run: README runs it, and nothing is overwritten -->
```sh
dcgan-train config init --preset fashion --out run.yaml
```

With its comments removed, and the two set:

```yaml
uri: runs/first
preset: fashion
data:
  uri: packed/mnist
training:
  epochs: 5
```

```sh
dcgan-train config check --config run.yaml
dcgan-train config show --config run.yaml --workers 1
dcgan-train train --config run.yaml --workers 1 --dry-run
```

`config check` says `ok`, or names the first mistake and ends with exit code 2; it opens no data.
`config show` prints every value and where it is from (`--json` for programs). `train --dry-run`
also checks the data and the run folder, and starts nothing. The run folder keeps the result as
`run.yaml`, which `--config` reads back.

## Sources of a value

Later sources win, key by key:

| source | example | in `config show` |
| --- | --- | --- |
| defaults, in the tables below | | `default` |
| a preset: the key `preset` by `--set`, else `--preset` | `--preset fashion` | `preset fashion` |
| the file | `--config run.yaml` | `file` |
| environment variables | `DCGAN_SET_TRAINING__STEPS=100` | `environment` |
| `--set key=value`, the last one of several | `--set training.steps=100` | `--set` |

`config show` also has `--preset`, for the key `preset`, and `own epochs`: `training.min_steps` is 0
because `training.epochs` is set.

The value of `--set` is YAML: `--set model.image_size=[64,64]`, `--set training.epochs=null`. Quote
it if your shell interprets brackets. Four keys have a short form, which is the same as its `--set`;
both with different values are an error. `sweep` has all but `--epochs`, because its runs are as
long as `training.steps` says.

| short | the same as |
| --- | --- |
| `--epochs 5` | `--set training.epochs=5` |
| `--steps 100` | `--set training.steps=100` |
| `--workers 4` | `--set workers.count=4` |
| `--batch 64` | `--set training.global_batch_size=64` |

`training.steps` wins over `training.epochs`. So `--epochs` changes nothing if `training.steps` is
set in the file or the environment; add `--set training.steps=null`.

### Environment variables

A variable is `DCGAN_SET_` and the key in capitals, with `__` for each dot; its value is YAML, as in
`--set`. An unknown name with this prefix, or an empty value, is an error. The variables hold for
every command that has `--config`, and those of the section `storage` for every command that has
`--set`.

<!-- not run: only an example of a store -->
```sh
export DCGAN_SET_WORKERS__COUNT=4 DCGAN_SET_STORAGE__ENDPOINT_URL=http://minio:9000
dcgan-train config show --config run.yaml
```

The process that runs `train` reads them: with `ray job submit` that is the job on the cluster,
which does not have the variables of your shell.

<!-- not run: needs a cluster; tests/launch/test_ray_job.py -->
```sh
ray job submit --address http://127.0.0.1:8265 --working-dir . \\
  --runtime-env-json '{"env_vars": {"DCGAN_SET_TRAINING__STEPS": "100"}}' -- \\
  python -m job train --config run.yaml
```

On Kubernetes they are entries of the chart's `extraEnv`. Prefer its values below `run`: the chart
checks them, and asks for as many pods as they say.

## Paths

Paths, here and on every command line, follow one rule: `~` and `~name` are home folders, and
relative ones start at the current folder. A `file://` URI is percent-decoded
(`file:///a/My%20Pictures`; a `%` is `%25`), a plain path is not. A URI that an earlier version
wrote undecoded is still found: it is read literally if only that name exists.

## Editors

The first line that `config init` writes, `# yaml-language-server: $schema=run.schema.json`, names
the JSON Schema that it puts beside the file, if there is none. An editor with a YAML language
server (VS Code: the extension YAML) then completes keys, shows their meaning and marks mistakes.
After an update of the program, write the schema again:

```sh
dcgan-train config schema --out run.schema.json
```

## Completion in the shell

The Tab key completes commands, options, files, presets (`--preset`) and keys (`--set`). Add the
line for your shell to the file that it names:

<!-- not run: changes a shell; tests/cli/test_completion.py -->
```sh
eval "$(_DCGAN_TRAIN_COMPLETE=bash_source dcgan-train)"  # bash 4.4 or newer: ~/.bashrc
eval "$(_DCGAN_TRAIN_COMPLETE=zsh_source dcgan-train)"   # zsh: ~/.zshrc, after compinit
_DCGAN_TRAIN_COMPLETE=fish_source dcgan-train | source   # fish: ~/.config/fish/config.fish
```

`dcgan-train` must be on the `PATH` there. If it is not, run the line by hand after you activated
its environment. bash and zsh add a blank after a completed `key=`; delete it before you type the
value.

## Secrets

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
            *_sections(run_schema(), ""),
            "## Presets",
            "",
            *_presets(),
            "## Mistakes",
            "",
            *_mistakes(),
        ]
    )


def _sections(section: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield the heading, docstring and table of keys of a section, then its subsections."""
    nested = {name: each for name, each in section["properties"].items() if "properties" in each}
    own = {name: each for name, each in section["properties"].items() if name not in nested}
    yield f"### `{prefix.rstrip('.')}`" if prefix else "### At the top"
    yield ""
    yield section["description"].replace("``", "`")
    if own:
        yield ""
        yield "| key | type | default | allowed | meaning |"
        yield "| --- | --- | --- | --- | --- |"
        for name, each in own.items():
            value = without_null(each)
            default = "none" if each["default"] == "" else _value(each["default"])
            cells = (f"`{prefix}{name}`", _type(value), default, _allowed(value))
            yield f"| {' | '.join(map(_cell, (*cells, each['description'])))} |"
    yield ""
    for name, each in nested.items():
        yield from _sections(each, f"{prefix}{name}.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(value: dict[str, Any]) -> str:
    if "anyOf" in value:  # a list, or one number for all of its entries; a number, or a word for it
        value = value["anyOf"][0]
    if value["type"] == "array":
        return f"{value['maxItems']} whole numbers" if "maxItems" in value else "whole numbers"
    kind = value["type"][0] if isinstance(value["type"], list) else value["type"]
    names = {"boolean": "true or false", "integer": "whole number", "string": "text"}
    return names.get(kind, kind)


def _value(value: Any) -> str:
    """Return a value as YAML."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, (tuple, list)) else f"`{value}`"


def _allowed(value: dict[str, Any]) -> str:
    options = value.get("anyOf", [])
    if any("const" in option for option in options):  # a number, or a word for it
        return ", ".join(map(_allowed, options))
    if choices := value.get("enum", [value["const"]] if "const" in value else []):
        return ", ".join(f"`{choice}`" for choice in choices)
    low, high = value.get("minimum"), value.get("maximum")
    if (above := value.get("exclusiveMinimum")) is not None:
        return f"above {above:g}" + (f", at most {high:g}" if high is not None else "")
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
    default = _flat(to_dict(RunSpec()))
    presets = [_flat(to_dict(load_run(name, check=False))) for name in names]
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


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return all values by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
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
    SCHEMA.write_text(editor_schema())
