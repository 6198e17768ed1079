"""Options that several commands share."""

import functools
import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from job.cli.completion import complete_key, complete_preset, complete_storage_key
from job.config.documents import lookup, merge, preset_names, read_override
from job.config.errors import ConfigError
from job.storage.paths import local_path

if TYPE_CHECKING:
    from job.config.storage import StorageSpec


class Number(click.FloatRange):
    """A number in a range, which ``nan`` is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number


_FLAGS = ("endpoint_url", "region", "path_style")
_AT_LEAST_1 = click.IntRange(min=1)
_SHORT_FORMS = {
    "--epochs": ("training.epochs", Number(min=0, min_open=True)),
    "--steps": ("training.steps", _AT_LEAST_1),
    "--workers": ("workers.count", _AT_LEAST_1),
    "--batch": ("training.global_batch_size", _AT_LEAST_1),
}


class LocalPath(click.Path):
    """A path as everywhere in this program.

    ``~`` is expanded, ``file://`` decoded, and the value is absolute.
    """

    def __init__(self, **kinds: bool) -> None:
        super().__init__(path_type=Path, **kinds)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = os.fspath(value)
        if "://" in text and not text.startswith("file://"):
            self.fail(f"{text} is not on this machine; expected a path or file://", param, ctx)
        return super().convert(str(local_path(text)), param, ctx)


class Sources(NamedTuple):
    """The sources of a run's configuration, as ``load_run(*sources)`` takes them."""

    preset: str | None
    path: Path | None
    overrides: tuple[str, ...]
    environment: Mapping[str, str]


def run_options(*short_forms: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that configure a run to a command, which gets them as ``sources``.

    ``short_forms`` are options such as ``--steps``, each the same as a ``--set``; none: all.
    """
    forms = {form: _SHORT_FORMS[form] for form in short_forms or _SHORT_FORMS}
    options = (
        click.option(
            "--config",
            "path",
            type=LocalPath(),
            help="YAML with the keys of docs/configuration.md.",
        ),
        click.option(
            "--preset",
            shell_complete=complete_preset,
            help=f"Preset that --config overrides: {', '.join(preset_names())}.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=complete_key,
            help="Override one value (highest precedence), for example workers.count=4.",
        ),
        *(
            click.option(form, type=kind, metavar="N", help=f"Short for --set {key}=N.")
            for form, (key, kind) in forms.items()
        ),
    )

    def add_to(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_sources(
            *, path: Path | None, preset: str | None, overrides: tuple[str, ...], **others: Any
        ) -> Any:
            given = {form: others.pop(form.removeprefix("--")) for form in forms}
            for form, value in given.items():
                if value is not None:
                    overrides = (*overrides, _override(form, value, overrides))
            return command(sources=Sources(preset, path, overrides, os.environ), **others)

        for option in reversed(options):
            with_sources = option(with_sources)
        return with_sources

    return add_to


def _override(form: str, value: float, overrides: tuple[str, ...]) -> str:
    """Return the ``--set`` that ``form`` is short for; ``ConfigError`` if ``overrides`` differ."""
    key = _SHORT_FORMS[form][0]
    document: dict[str, Any] = {}
    for override in overrides:
        merge(document, read_override(override))
    with suppress(KeyError):
        if (other := lookup(document, key)) != value:
            raise ConfigError(
                f"{form} is {value} and --set {key} is {other}; expected one of them, because"
                f" {form} is short for --set {key}"
            )
    return f"{key}={value!r}"


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add options for the storage section to a command, which gets it as ``storage``."""

    @functools.wraps(command)
    def with_storage(*arguments: Any, overrides: tuple[str, ...], **others: Any) -> Any:
        from job.config.load import load_storage

        given = {name: value for name in _FLAGS if (value := others.pop(name)) is not None}
        return command(*arguments, storage=load_storage(overrides, given, os.environ), **others)

    for option in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=complete_storage_key,
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


def option_text(spec: "StorageSpec") -> str:
    """Return what another command needs to reach the same store, with a space before.

    Nothing if the defaults do.
    """
    text = f" --endpoint-url {spec.endpoint_url}" if spec.endpoint_url else ""
    text += f" --region {spec.region}" if spec.region else ""
    text += {True: " --path-style", False: " --virtual-host", None: ""}[spec.path_style]
    for name, value in spec.model_dump(exclude=set(_FLAGS), exclude_defaults=True).items():
        text += " --set " + shlex.quote(f"storage.{name}={value}")
    return text


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
    from job.config.keys import value_keys

    name = option.lstrip("-").replace("-", "_")
    keys = [key for key in value_keys() if name in (key, key.rpartition(".")[2])]
    if not keys:
        return None
    rest = arguments[arguments.index(option) + 1 :][:1] if option in arguments else []
    given = [
        argument.partition("=")[2] for argument in arguments if argument.startswith(f"{option}=")
    ] or rest
    value = shlex.quote(given[0]) if given and not given[0].startswith("--") else "VALUE"
    settings = " or ".join(f"--set {key}={value}" for key in keys)
    return f"{option} is a key of the configuration; use `dcgan-train train` with {settings}"
