"""``dcgan-train compare``."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.cli.output_file import write_file
from job.config.errors import ConfigError
from job.config.text import counted, printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

    from job.config.storage import StorageSpec
    from job.report.comparison import Comparison

MIN_RUNS, MAX_RUNS = 2, 8  # as many as the page has colours
PIPE_COLUMNS = 1000
NUM_TEXT_COLUMNS = 3  # run, preset and state; then numbers


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--out",
    "destination",
    type=LocalPath(dir_okay=False),
    help="Write one HTML file with curves, grids, scores and differences instead of the table.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, for machines.")
@storage_options
def compare(
    runs: tuple[str, ...], destination: Path | None, as_json: bool, storage: "StorageSpec"
) -> None:
    """Show two to eight runs side by side, from their folders alone.

    Progress, speed, Frechet distances, and the keys of their configurations that differ.
    """
    from job.report.comparison import compare_runs
    from job.report.comparison_page import build_comparison
    from job.storage.uri import open_store
    from job.telemetry.logs import plain

    if destination and as_json:
        raise ConfigError("both --out and --json are given; expected one of them")
    stores = [open_store(run, storage) for run in runs]
    if not MIN_RUNS <= len(stores) <= MAX_RUNS:
        raise ConfigError(
            f"{counted(len(stores), 'run')} to compare; expected {MIN_RUNS} to {MAX_RUNS}"
        )
    for number, store in enumerate(stores):
        if store.uri in [before.uri for before in stores[:number]]:
            raise ConfigError(f"{runs[number]} is given twice; expected different runs")
    found = compare_runs(stores)
    if destination:
        write_file(destination, build_comparison(found, stores))
    elif as_json:
        click.echo(json.dumps(plain(dataclasses.asdict(found))))
    else:
        _show(found)


def _show(found: "Comparison") -> None:
    from rich.console import Console

    from job.report.comparison_page import run_table, value_text

    console = Console()
    if not console.is_terminal:  # a pipe gets whole lines
        console = Console(width=PIPE_COLUMNS)
    console.print(_table(run_table(found)))
    if found.why_not_comparable:
        say(f"Frechet distances are not compared: {found.why_not_comparable}")
    for run in found.runs:
        if not run.configuration:
            say(f"{run.label}: its configuration (run.yaml) cannot be read")
    say("")
    if found.differences:
        say("settings that differ, each value with the numbers of its runs:")
    elif all(run.configuration for run in found.runs):
        say("all settings are equal")
    for key, values in found.differences.items():
        runs_of: dict[str, list[str]] = {}
        for number, (run, value) in enumerate(zip(found.runs, values, strict=True), start=1):
            if run.configuration:
                runs_of.setdefault(value_text(value), []).append(str(number))
        of_runs = (f"{value} ({', '.join(numbers)})" for value, numbers in runs_of.items())
        say(f"{key}: {', '.join(of_runs)}")


def _table(cells: Sequence[tuple[str, ...]]) -> "Table":
    """Return a table whose first column is folded to fit the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    heads, *rows = cells
    for number, head in enumerate(heads):
        side: JustifyMethod = "left" if number < NUM_TEXT_COLUMNS else "right"
        table.add_column(head.replace(" ", "\n"), justify=side, overflow="fold", no_wrap=number > 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
