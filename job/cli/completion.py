"""Completion in a shell, beside commands and options: presets, and the keys of ``--set``.

click asks these functions when the script of ``_DCGAN_TRAIN_COMPLETE=bash_source`` runs the
program; at each press of the Tab key, so nothing heavy is loaded.
"""

import click
from click.shell_completion import CompletionItem

from job.config.documents import preset_names


def complete_preset(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the presets that begin with ``incomplete``."""
    return [CompletionItem(name) for name in preset_names() if name.startswith(incomplete)]


def complete_key(
    context: click.Context, parameter: click.Parameter, incomplete: str, section: str = ""
) -> list[CompletionItem[str]]:
    """Return ``key=`` for the keys of ``section`` that begin with ``incomplete``."""
    from job.config.keys import value_keys

    return [
        CompletionItem(f"{key}=", help=(field.description or "").partition("\n")[0])
        for key, field in value_keys().items()
        if key.startswith(section) and key.startswith(incomplete)
    ]


def complete_storage_key(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return ``key=`` for the keys of the storage section that begin with ``incomplete``."""
    return complete_key(context, parameter, incomplete, "storage.")
