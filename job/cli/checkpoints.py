"""``dcgan-train checkpoints``."""

import click

from job.cli.options import storage_options, storage_spec


@click.group()
def checkpoints() -> None:
    """Look at the checkpoints of a run folder."""


@checkpoints.command("list")
@click.argument("run")
@storage_options
def list_checkpoints(run: str, endpoint_url: str | None, region: str | None, path_style: bool | None) -> None:
    """List the committed checkpoints of RUN, newest first."""
    from job.config.errors import StorageError
    from job.storage.uri import open_store
    from job.training.checkpoint import Checkpoints

    found = Checkpoints(open_store(run, storage_spec(endpoint_url, region, path_style)))
    committed = found.committed()
    if not committed:
        raise StorageError(f"{run}: no committed checkpoint; expected a run folder (uri in run.yaml) that training has saved to")
    click.echo(f"{'step':>10}  {'images seen':>12}  {'MB':>8}  {'created':<25}  uri")
    for manifest in committed:
        megabytes = manifest.num_bytes / 1e6
        click.echo(f"{manifest.step:>10}  {manifest.images_seen:>12}  {megabytes:>8.1f}  {manifest.created:<25}  {found.uri(manifest)}")
