"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from job.config.storage import StorageSpec


def storage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--endpoint-url``, ``--region`` and ``--path-style``, for commands without a ``run.yaml``; see ``storage_spec``."""
    for option in (
        click.option("--path-style/--virtual-host", "path_style", default=None, help="Address buckets as endpoint/bucket."),
        click.option("--region", help="S3 region; default: the standard AWS variables."),
        click.option("--endpoint-url", help="S3 endpoint; default: AWS_ENDPOINT_URL, else Amazon's own."),
    ):
        command = option(command)
    return command


def storage_spec(endpoint_url: str | None, region: str | None, path_style: bool | None) -> StorageSpec:
    """The options as the storage section of a configuration."""
    return StorageSpec(endpoint_url=endpoint_url, region=region, path_style=path_style)


def option_text(spec: StorageSpec) -> str:
    """What to add to another command so that it reaches the same store, with a space before; nothing where the defaults do."""
    text = f" --endpoint-url {spec.endpoint_url}" if spec.endpoint_url else ""
    text += f" --region {spec.region}" if spec.region else ""
    return text + ({True: " --path-style", False: " --virtual-host", None: ""}[spec.path_style])
