"""``dcgan-train report``."""

import os
from pathlib import Path

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.config.storage import StorageSpec


@click.command()
@click.argument("run")
@click.option(
    "--out", "destination", type=LocalPath(dir_okay=False), help="A file; default: RUN/report.html."
)
@storage_options
def report(run: str, destination: Path | None, storage: StorageSpec) -> None:
    """Write one HTML file about the run in the folder RUN.

    Curves, grids, configuration and incidents; it needs no network.
    """
    from job.report.html_report import build_report, write_report
    from job.storage.local import LocalStore
    from job.storage.uri import open_store

    store = open_store(run, storage)
    if destination is None:
        say(write_report(store))
        return
    html = build_report(store)
    is_other = destination.exists() and not destination.is_file()
    if is_other:  # a device or a pipe, which a new file must not replace
        _write_through(destination, html)
    else:
        target = Path(
            os.path.realpath(destination)
        )  # what a link points to is written, and the link stays
        LocalStore(target.parent).write(target.name, html)
    say(str(destination), err=is_other)  # it may be our own standard output


def _write_through(destination: Path, data: bytes) -> None:
    from job.storage.os_errors import storage_error

    try:
        with destination.open("wb") as file:
            file.write(data)
    except OSError as error:
        raise storage_error(str(destination), "write", error) from error
