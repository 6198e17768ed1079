"""``dcgan-train report``."""

from pathlib import Path

import click

from job.cli.options import storage_options, storage_spec


@click.command()
@click.argument("run")
@click.option("--out", "destination", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: RUN/report.html.")
@storage_options
def report(run: str, destination: Path | None, endpoint_url: str | None, region: str | None, path_style: bool | None) -> None:
    """Write one HTML file that tells all of the run in the folder RUN: curves, grids, configuration, faults. It needs no network."""
    from job.records.report import build_report, write_report
    from job.storage.local import LocalStore
    from job.storage.uri import open_store

    store = open_store(run, storage_spec(endpoint_url, region, path_style))
    if destination is None:
        click.echo(write_report(store))
        return
    html = build_report(store)
    LocalStore(destination.absolute().parent).write(destination.name, html)
    click.echo(str(destination))
