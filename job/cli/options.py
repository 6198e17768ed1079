"""Options that several commands share."""

import dataclasses
import functools
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from job.config.load import all_keys
from job.config.storage import StorageSpec
from job.storage.paths import local_path

_FLAGS = ("endpoint_url", "region", "path_style")


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for the storage section to a command, which gets it as ``storage``."""

    @functools.wraps(command)
    def with_storage(*arguments: Any, overrides: tuple[str, ...], **others: Any) -> Any:
        from job.config.load import load_storage

        given = {name: value for name in _FLAGS if (value := others.pop(name)) is not None}
        return command(
            *arguments, storage=dataclasses.replace(load_storage(overrides), **given), **others
        )

    for option in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Another key of the storage section, such as storage.request_payer=requester;"
            " can be repeated.",
        ),
        click.option(
            "--path-style/--virtual-host",
            "path_style",
            default=None,
            help="Address buckets as endpoint/bucket.",
        ),
        click.option("--region", help="S3 region; default: the standard AWS variables."),
        click.option(
            "--endpoint-url", help="S3 endpoint; default: AWS_ENDPOINT_URL, else Amazon's own."
        ),
    ):
        with_storage = option(with_storage)
    return with_storage


def option_text(spec: StorageSpec) -> str:
    """Return what another command needs to reach the same store, with a space before.

    Nothing if the defaults do.
    """
    text = f" --endpoint-url {spec.endpoint_url}" if spec.endpoint_url else ""
    text += f" --region {spec.region}" if spec.region else ""
    text += {True: " --path-style", False: " --virtual-host", None: ""}[spec.path_style]
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name not in _FLAGS and value != field.default:
            text += " --set " + shlex.quote(f"storage.{field.name}={value}")
    return text


class LocalPath(click.Path):
    """A path as everywhere in this program.

    ``~`` is expanded, ``file://`` decoded, and the value is absolute.
    """

    def __init__(self, **kinds: bool) -> None:
        super().__init__(path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(str(local_path(os.fspath(value))), param, ctx)


def program() -> str:
    """Return how a shell starts this program here.

    By its name, by the path beside the interpreter, or as a module.
    """
    if shutil.which("dcgan-train"):
        return "dcgan-train"
    beside = Path(sys.executable).with_name("dcgan-train")
    return (
        shlex.quote(str(beside))
        if os.access(beside, os.X_OK)
        else f"{shlex.quote(sys.executable)} -m job"
    )


def set_hint(option: str, arguments: list[str]) -> str | None:
    """Return what to write instead of ``option``, if that is the name of a configuration key.

    ``--epochs 5`` is `--set training.epochs=5`.
    """
    name = option.lstrip("-").replace("-", "_")
    every = all_keys()
    sections = {key.rpartition(".")[0] for key in every}
    keys = [key for key in every if name in (key, key.rpartition(".")[2]) and key not in sections]
    if not keys:
        return None
    rest = arguments[arguments.index(option) + 1 :][:1] if option in arguments else []
    given = [
        argument.partition("=")[2] for argument in arguments if argument.startswith(f"{option}=")
    ] or rest
    value = shlex.quote(given[0]) if given and not given[0].startswith("--") else "VALUE"
    settings = " or ".join(f"--set {key}={value}" for key in keys)
    return f"{option} is a key of the configuration; use `dcgan-train train` with {settings}"
