"""``dcgan-train report``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.cli.output_file import write_file
from job.config.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from job.config.storage import StorageSpec
    from job.storage.store import ObjectStore

LAST_PAGE_SECONDS = 60  # that a browser has to load the page of a run that has ended


@click.command()
@click.argument("run")
@click.option(
    "--out", "destination", type=LocalPath(dir_okay=False), help="A file; default: RUN/report.html."
)
@click.option(
    "--watch",
    is_flag=True,
    help="Serve the report to browsers on this machine until the run has ended; write no file.",
)
@click.option(
    "--every",
    "every_seconds",
    type=click.IntRange(1, 3600),
    default=10,
    show_default=True,
    help="Seconds between updates of the page, with --watch.",
)
@storage_options
def report(
    run: str,
    destination: Path | None,
    watch: bool,
    every_seconds: int,
    storage: "StorageSpec",
) -> None:
    """Write one HTML file about the run in the folder RUN.

    Curves, grids, configuration and incidents; it needs no network.
    """
    from job.report.html_report import build_report, write_report
    from job.storage.uri import open_store

    store = open_store(run, storage)
    if watch and destination:
        raise ConfigError(
            "both --watch and --out are given; expected one of them: --watch writes no file"
        )
    if watch:
        _watch(run, store, every_seconds)
    elif destination is None:
        say(write_report(store))
    else:
        write_file(destination, build_report(store))


def _watch(run: str, store: "ObjectStore", every_seconds: int) -> None:
    """Serve the report until the run has ended and a browser has its last page."""
    from job.report.html_report import build_report
    from job.report.live_page import LivePage
    from job.report.status import read_status

    found = read_status(store)
    with LivePage(build_report(store, found, every_seconds)) as live:
        say(f"{live.url}  {run}, updated every {every_seconds} s; Ctrl-C ends")
        was_read = True
        while not found.is_over:
            time.sleep(every_seconds)
            try:
                found = read_status(store, found)
                live.show(build_report(store, found, every_seconds))
            except StorageError as error:  # the page stays as it is until the store responds
                if was_read:
                    say(f"{error}; trying again every {every_seconds} s", err=True)
                was_read = False
            else:
                was_read = True
        seconds = max(LAST_PAGE_SECONDS, 2 * every_seconds)
        say(f"{found.state}: waiting at most {seconds} s for a browser to load the last page")
        live.wait_until_sent(seconds)
