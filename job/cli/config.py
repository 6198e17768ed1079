"""``dcgan-train config``: write, show and check ``run.yaml`` before a run."""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from job.cli.completion import complete_preset
from job.cli.options import LocalPath, Sources, program, run_options
from job.cli.output import say
from job.cli.output_file import write_file
from job.config.documents import lookup, preset_names, setting_text
from job.config.errors import ConfigError

SCHEMA_NAME = "run.schema.json"
ORIGIN_COLUMN = 44  # of a terminal with 80


@click.group()
def config() -> None:
    """Write, show and check the configuration of a run (run.yaml)."""


@config.command()
@click.option(
    "--preset",
    default="fashion",
    show_default=True,
    shell_complete=complete_preset,
    help=f"Preset to begin with: {', '.join(preset_names())}.",
)
@click.option(
    "--out",
    "path",
    type=LocalPath(),
    default="run.yaml",
    show_default=True,
    help="The new file; its folder also gets the schema that editors complete and check it with.",
)
def init(preset: str, path: Path) -> None:
    """Write a commented run.yaml for a preset.

    An existing file is never overwritten.
    """
    from job.config.schema import editor_schema
    from job.config.template import template

    if os.path.lexists(path):
        raise ConfigError(
            f"{path}: exists; expected a new file. Choose another with --out, or remove it"
        )
    if path.name == SCHEMA_NAME:
        raise ConfigError(
            f"--out is {path}, the name of the schema beside it; expected another one, for example"
            " run.yaml"
        )
    text = template(preset, path.name, SCHEMA_NAME)
    schema = path.with_name(SCHEMA_NAME)
    if not os.path.lexists(schema):
        _write(schema, editor_schema())
    _write(path, text)
    say(f"{path}: set uri and data.uri")
    say(f"next: {program()} config check --config {shlex.quote(os.path.relpath(path))}")


@config.command()
@run_options()
@click.option("--json", "as_json", is_flag=True, help="JSON: value and origin of each key.")
def show(sources: Sources, as_json: bool) -> None:
    """Print every value of a configuration, and where it is from.

    As YAML that --config reads back. An origin is default, preset NAME, file (--config),
    environment (DCGAN_SET_...), --set or --preset; "own epochs" is training.min_steps if
    training.epochs is set.
    """
    from job.config.load import merged, origins, read_layers, to_dict

    layers = read_layers(*sources)
    values, found = to_dict(merged(layers)), origins(layers)
    if as_json:
        keys = {
            key: {"value": lookup(values, key), "origin": origin} for key, origin in found.items()
        }
        click.echo(json.dumps(keys, indent=1))
        return
    for line in _yaml_lines(values, found):
        say(line)


@config.command()
@run_options()
def check(sources: Sources) -> None:
    """Check a configuration as train does, without its data.

    Opens no image and no run folder; `train --dry-run` does. Prints ok, or the first mistake, with
    exit code 2.
    """
    from job.config.load import load_run
    from job.run.stores import open_stores
    from job.training.preflight import with_absolute_paths

    open_stores(with_absolute_paths(load_run(*sources)))
    say("ok")


@config.command()
@click.option("--out", "path", type=LocalPath(dir_okay=False), help="A file, which is replaced.")
def schema(path: Path | None) -> None:
    """Print the JSON Schema of run.yaml, for editors."""
    from job.config.schema import editor_schema

    if path is None:
        click.echo(editor_schema(), nl=False)
    else:
        write_file(path, editor_schema().encode())


def _yaml_lines(values: Mapping[str, Any], found: Mapping[str, str]) -> Iterator[str]:
    """Yield each key with its value, and its origin as a comment."""
    opened: list[str] = []
    for key, origin in found.items():
        *outer, name = key.split(".")
        for depth in range(len(outer)):
            if outer[: depth + 1] != opened[: depth + 1]:
                yield f"{'  ' * depth}{outer[depth]}:"
        opened = outer
        text = "  " * len(outer) + setting_text(name, lookup(values, key))
        yield f"{text:<{ORIGIN_COLUMN}}  # {origin}"


def _write(path: Path, text: str) -> None:
    from job.storage.local import LocalStore

    LocalStore(path.parent).write(path.name, text.encode())
