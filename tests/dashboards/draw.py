"""Draw the dashboards' key panels for the documentation, into docs/images.

    python -m tests.dashboards.draw [FOLDER]

Runs ``scenario`` (minutes, two cores), sends its Prometheus the queries of the panels and draws the
answers with matplotlib, because Grafana is not installed. A dashed line is an injected fault, a red
bar an alert.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from tests.dashboards.curves import Curve, curves
from tests.dashboards.panels import find, variables
from tests.dashboards.rules_files import ROOT
from tests.dashboards.scenario import Moment, scripted_run
from tests.servers.prometheus import Prometheus

PICTURES = {
    "run-well": (
        "run",
        [
            "Where the time goes",
            "Steps",
            "Losses",
            "D(x) and D(G(z))",
            "Diversity of the samples",
            "NaN and rollbacks",
        ],
    ),
    "run-slow": (
        "run",
        [
            "Images per second",
            "Time of a step",
            "Computing, by worker",
            "Batches ahead",
            "Fetched again",
            "Bytes fetched",
        ],
    ),
    "run-checkpoints": (
        "run",
        [
            "Age of the last checkpoint",
            "Checkpoints by outcome",
            "Failed saves",
            "Seconds by stage",
            "Workers",
            "Restarts and hangs",
        ],
    ),
}
INTERVAL = "10s"
FAULTS = ("store refuses", "worker 1 stopped", "both killed, bad weights")
UNITS: dict[str, Callable[[float], str]] = {
    "percentunit": lambda value: f"{value:.0%}",
    "s": lambda value: f"{value * 1000:.0f} ms" if 0 < abs(value) < 0.5 else f"{value:g} s",
    "bytes": lambda value: f"{value / 1e6:g} MB",
    "Bps": lambda value: f"{value / 1e6:g} MB/s",
    "reqps": lambda value: f"{value:g}/s",
}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryDirectory(prefix="dcgan-", dir="/tmp", ignore_cleanup_errors=True) as ray,
    ):
        start = time.time()
        with scripted_run(Path(scratch), Path(ray)) as scenario:
            for moment in scenario.moments:
                sys.stdout.write(f"{moment.time - start:6.0f} s  {moment.what}\n")
            for name, (board, titles) in PICTURES.items():
                draw(scenario.server, scenario.moments, board, titles, start, time.time()).savefig(
                    folder / f"{name}.png", dpi=80
                )
                sys.stdout.write(f"{folder / name}.png\n")


def draw(
    server: Prometheus,
    moments: list[Moment],
    board: str,
    titles: list[str],
    start: float,
    end: float,
) -> Any:
    """Panels in two columns, from the first scrape on; time in seconds since then."""
    begun = min(curve.times[0] for curve in curves(server, "dcgan_phase", start, end))
    figure, places = plt.subplots(
        (len(titles) + 1) // 2,
        2,
        figsize=(14, 2.6 * ((len(titles) + 1) // 2)),
        layout="constrained",
    )
    alerts = curves(server, 'ALERTS{alertstate="firing", alertname=~"Dcgan.+"}', start, end)
    for title, axes in zip(titles, places.flat, strict=True):
        panel = find(board, title)
        found = [
            (_named(target["legendFormat"], curve), curve)
            for target in panel["targets"]
            for curve in curves(server, _filled(target["expr"]), start, end)
        ]
        _lines(axes, panel, found, begun)
        _events(axes, moments, alerts, begun, end)
    return figure


def _filled(expr: str) -> str:
    values = variables("eventful", INTERVAL)
    for name, value in values.items():
        expr = expr.replace(f"${name}", value)
    return expr


def _named(legend: str, curve: Curve) -> str:
    for name, value in curve.labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def _lines(axes: Axes, panel: dict[str, Any], found: list[tuple[str, Curve]], begun: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    found = [
        (name, curve) for name, curve in found if any(curve.values)
    ] or found  # as Grafana's legend would be read
    if stacking := custom.get("stacking"):
        times = sorted({time for _, curve in found for time in curve.times})
        rows = [
            [dict(zip(curve.times, curve.values, strict=True)).get(time, 0.0) for time in times]
            for _, curve in found
        ]
        if stacking["mode"] == "percent":
            sums = [sum(column) or math.inf for column in zip(*rows, strict=True)]
            rows = [[value / total for value, total in zip(row, sums, strict=True)] for row in rows]
            axes.set_ylim(0, 1)
        axes.stackplot(
            [time - begun for time in times],
            rows,
            labels=[name for name, _ in found],
            alpha=0.75,
            linewidth=0,
        )
    else:
        for name, curve in found:
            for times, values in _pieces(curve):
                axes.plot(
                    [time - begun for time in times],
                    values,
                    label=name,
                    linewidth=1.4,
                    color=_color(axes, name),
                )
    axes.set_title(panel["title"], loc="left", fontsize=11, fontweight="bold")
    axes.grid(alpha=0.25)
    axes.yaxis.set_major_formatter(
        FuncFormatter(
            lambda value, _: UNITS.get(defaults["unit"], lambda value: f"{value:,g}")(value)
        )
    )
    if custom.get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
    if "max" in defaults:
        axes.set_ylim(defaults.get("min", 0), defaults["max"])
    elif "min" in defaults:
        axes.set_ylim(bottom=defaults["min"])
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        handles.values(),
        handles.keys(),
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        borderaxespad=0.2,
    )


def _color(axes: Axes, name: str) -> Any:
    """The pieces of one series have one colour; None is the next one."""
    return next((line.get_color() for line in axes.get_lines() if line.get_label() == name), None)


def _pieces(curve: Curve) -> list[tuple[list[float], list[float]]]:
    """A series in parts, without the line over the time in which it was not there."""
    cuts = [
        0,
        *(i for i in range(1, len(curve.times)) if curve.times[i] - curve.times[i - 1] > 2),
        len(curve.times),
    ]
    return [(curve.times[first:last], curve.values[first:last]) for first, last in pairwise(cuts)]


def _events(
    axes: Axes, moments: list[Moment], alerts: list[Curve], begun: float, end: float
) -> None:
    for moment in moments:
        if moment.what in FAULTS:
            axes.axvline(
                moment.time - begun, color="black", linewidth=0.9, linestyle="--", alpha=0.6
            )
            place = (moment.time - begun + 0.6, 0.06)
            axes.text(
                *place,
                moment.what,
                transform=axes.get_xaxis_transform(),
                rotation=90,
                fontsize=6.5,
                va="bottom",
                alpha=0.8,
            )
    for curve in alerts:
        axes.fill_between(
            [time - begun for time in curve.times],
            0,
            0.03,
            transform=axes.get_xaxis_transform(),
            color="tab:red",
            linewidth=0,
            alpha=0.8,
        )
    axes.set_xlim(0, end - begun)
    axes.set_xlabel("seconds", fontsize=8)


if __name__ == "__main__":
    main()
