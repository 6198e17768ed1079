"""``dcgan-train status``."""

import dataclasses
import json
import shlex
import time
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import click

from job.cli.options import Number, option_text, program, storage_options
from job.cli.output import say
from job.config.text import counted, printable

if TYPE_CHECKING:
    from rich.text import Text

    from job.config.storage import StorageSpec
    from job.report.status import RunStatus


STATE_STYLES = {
    "running": "bold green",
    "starting": "bold green",
    "done": "bold cyan",
    "failed": "bold red",
    "stale": "bold yellow",
}
LABEL_COLUMNS = 13
BAR_COLUMNS = 24
DIVERSITY, DATA_DIVERSITY, SCORE = (
    "dcgan_sample_diversity",
    "dcgan_data_diversity",
    "dcgan_quality_",
)
SCORES = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage")
GOODPUT_PARTS = (
    ("starting", "starting"),
    ("lost", "lost steps"),
    ("saving", "saving"),
    ("sampling", "grids and scores"),
)
SPARK_LEVELS, BAR_PARTS = "▁▂▃▄▅▆▇█", "━╌"
ASCII_LEVELS, ASCII_BAR_PARTS = "_.,-~=+#", "#-"  # for a terminal that is not UTF-8


@click.command()
@click.argument("run")
@click.option("--watch", is_flag=True, help="Repeat until the run has ended.")
@click.option(
    "--every",
    "every_seconds",
    type=Number(min=0.5),
    default=5.0,
    show_default=True,
    help="Seconds between checks.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per check, for machines.")
@storage_options
def status(
    run: str,
    watch: bool,
    every_seconds: float,
    as_json: bool,
    storage: "StorageSpec",
) -> None:
    """Show the status of the run in the folder RUN, from its files alone.

    The exit code says whether they could be read; for the state of the run take `state` of --json.
    """
    from rich.console import Console, Group
    from rich.live import Live

    from job.report.status import read_status
    from job.storage.uri import open_store

    store = open_store(run, storage)
    found = read_status(store)
    console = Console()

    def later() -> Iterator["RunStatus"]:
        latest = found
        while watch and not latest.is_over:
            time.sleep(every_seconds)
            latest = read_status(store, latest)
            yield latest

    def shown(latest: "RunStatus") -> "list[Text]":
        return lines(latest, run, storage, console.width, ascii_only=console.options.ascii_only)

    if as_json:
        for latest in chain([found], later()):
            click.echo(json.dumps(dataclasses.asdict(latest)))
    elif watch and console.is_terminal:
        with Live(Group(*shown(found)), console=console, auto_refresh=False) as live:
            for latest in later():
                live.update(Group(*shown(latest)), refresh=True)
    else:
        for line in shown(found):
            console.print(line, soft_wrap=True)
        for latest in later():
            ago = latest.reported_seconds_ago if latest.is_quiet else None
            quiet = "" if ago is None else f", last word {_ago(ago)} ago"
            say(f"{latest.state}: {_course(latest)}{quiet}")


def lines(
    found: "RunStatus", run: str, storage: "StorageSpec", columns: int, *, ascii_only: bool = False
) -> "list[Text]":
    """Return lines for a terminal of ``columns``, each a label and its value."""
    from rich.text import Text

    from job.telemetry.progress import duration_text

    shown = [
        Text(found.state, style=STATE_STYLES.get(found.state, "bold")).append(
            printable(f"  {run}"), style="not bold default"
        )
    ]
    if found.why:
        shown.append(_line("why", found.why))
    if (last_word := _last_word(found)) is not None:
        shown.append(last_word)
    shown.append(_line("step", _course(found)))
    if found.step is not None and found.total_steps:
        shown[-1].append("  ").append(
            _bar(found.step / found.total_steps, ASCII_BAR_PARTS if ascii_only else BAR_PARTS),
            style="cyan",
        )
    if found.images_per_second is not None and found.step:
        parts = [f"{found.images_per_second:,.0f} images/s"]
        if found.world_size:
            parts.append(counted(found.world_size, "worker"))
        if found.step_seconds:
            share = (found.data_wait_seconds or 0.0) / found.step_seconds
            parts.append(
                f"{duration_text(found.step_seconds)} a step, {share:.0%} waiting for images"
            )
        shown.append(
            _line("last speed" if found.is_over or found.is_quiet else "speed", ", ".join(parts))
        )
    levels = ASCII_LEVELS if ascii_only else SPARK_LEVELS
    room = max(8, min(60, columns - LABEL_COLUMNS - 12))
    distances = found.scores.get("frechet_distance", [])
    for label, value, points in (
        ("D loss", found.discriminator_loss, found.curves.get("discriminator_loss", [])),
        ("G loss", found.generator_loss, found.curves.get("generator_loss", [])),
        ("Frechet", distances[-1] if distances else None, distances),
    ):
        if value is not None and found.step:
            bars = sparkline(points, room, levels)
            shown.append(_line(label, f"{value:<8.4g}  ").append(bars, style="magenta"))
    if found.real_probability is not None and found.fake_probability is not None and found.step:
        shown.append(
            _line("D(x), D(G(z))", f"{found.real_probability:.2f}, {found.fake_probability:.2f}")
        )
    if quality := _quality(found.values):
        shown.append(_line("quality", quality))
    if found.goodput is not None:
        shown.append(_line("goodput", _goodput(found.goodput, found.goodput_seconds)))
    for number, sentence in enumerate(found.health):
        shown.append(_line("" if number else "health", sentence))
    shown += [_line("checkpoint", _checkpoint(found)), _line("incidents", _incidents(found))]
    if found.metrics_url:
        shown.append(_line("metrics", found.metrics_url))
    if found.grid:
        shown.append(_line("newest grid", found.grid))
    shown.append(_line("next", _next(found, run, storage)))
    return shown


def sparkline(values: list[float], columns: int, levels: str = SPARK_LEVELS) -> str:
    """``values`` as at most ``columns`` bars, each the mean of its share of them."""
    if not values:
        return ""
    count = min(columns, len(values))
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    steps = [(mean - low) / (high - low) if high > low else 0.0 for mean in means]
    return "".join(levels[min(len(levels) - 1, int(step * len(levels)))] for step in steps)


def _line(label: str, text: str) -> "Text":
    from rich.text import Text

    return Text(f"{label:<{LABEL_COLUMNS}}  ", style="dim", overflow="fold").append(
        printable(text), style="not dim"
    )


def _course(found: "RunStatus") -> str:
    from job.telemetry.progress import clock_text

    if found.step is None:
        return "no step reported yet"
    of = f" of {found.total_steps:,}" if found.total_steps else ""
    share = f", {int(100 * min(1.0, found.step / found.total_steps))}%" if found.total_steps else ""
    left = f", left {clock_text(found.seconds_left)}" if found.seconds_left else ""
    phase = f", {found.phase}" if found.phase not in ("", "train") else ""
    return f"{found.step:,}{of}{share}{left}{phase}"


def _last_word(found: "RunStatus") -> "Text | None":
    """Return the age of the last report of a run that has not ended."""
    if found.reported_seconds_ago is None or found.state not in ("starting", "running", "stale"):
        return None
    line = _line("last word", f"{_ago(found.reported_seconds_ago)} ago")
    if not found.is_quiet:
        return line
    line.stylize("yellow", LABEL_COLUMNS)
    every = (
        f"expected every {_ago(found.report_interval_seconds)}; "
        if found.report_interval_seconds and found.state == "running"
        else ""
    )
    return line.append(
        f" ({every}it may hang, or not reach this folder: see its log)", style="yellow"
    )


def _quality(values: dict[str, float]) -> str:
    """Scores of the images, as far as any are known."""
    parts = []
    made, real = values.get(DIVERSITY), values.get(DATA_DIVERSITY)
    if made is not None:
        parts.append(
            f"diversity {made:.3g}"
            + (f", {made / real:.2f} of the data set's {real:.3g}" if real else "")
        )
    parts += [
        f"{name.replace('_', ' ')} {values[SCORE + name]:.3g}"
        for name in SCORES
        if SCORE + name in values
    ]
    return ", ".join(parts)


def _goodput(share: float, seconds: dict[str, float]) -> str:
    """The share of the time in steps that count, and what took 1% of it or more besides."""
    from job.telemetry.progress import clock_text

    parts = [
        f"{label} {lost:.0%}"
        for name, label in GOODPUT_PARTS
        if (lost := seconds[f"{name}_seconds"] / seconds["seconds"]) >= 0.005
    ]
    return ", ".join([f"{share:.0%} of {clock_text(seconds['seconds'])}", *parts])


def _bar(share: float, parts: str) -> str:
    full = int(min(1.0, share) * BAR_COLUMNS)
    return parts[0] * full + parts[1] * (BAR_COLUMNS - full)


def _checkpoint(found: "RunStatus") -> str:
    if found.checkpoint_step is None:
        return "none yet"
    ago = (
        f", {_ago(found.checkpoint_seconds_ago)} ago"
        if found.checkpoint_seconds_ago is not None
        else ""
    )
    return f"step {found.checkpoint_step:,}{ago}"


def _ago(seconds: float) -> str:
    for name, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"


def _incidents(found: "RunStatus") -> str:
    def counted(number: int, word: str) -> str:
        return f"{number or 'no'} {word}{'' if number == 1 else 's'}"

    parts = [
        counted(found.restarts or 0, "restart"),
        counted(found.rollbacks, "rollback"),
        counted(found.hangs, "hang"),
    ]
    starts = f"; started {found.num_starts} times" if found.num_starts > 1 else ""
    return ", ".join(parts) + starts


def _next(found: "RunStatus", run: str, storage: "StorageSpec") -> str:
    folder, options = shlex.quote(run), option_text(storage)
    if found.state == "done":
        return f"{program()} generate {folder} --num 100 --format grid --out images.png{options}"
    if found.state in ("running", "starting"):
        return f"{program()} report {folder} --out report.html{options}"
    again = "run the same command again to resume from the last checkpoint"
    if found.state == "failed":
        return f"fix the error above, then {again}; details: {found.uri.rstrip('/')}/report.html"
    return again
