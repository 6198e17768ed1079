"""The page of `dcgan-train compare`: runs side by side in one HTML file.

Curves over images seen and over time, grids at equal images, scores, and what differs in the
configurations.
"""

import datetime
import json
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from markupsafe import Markup

from job.quality.tables import Table, basis_text, score_table
from job.report.charts import Chart, Line, chart
from job.report.comparison import ComparedRun, Comparison
from job.report.curves import steady, training_clock
from job.report.metric_history import read_metrics
from job.report.page import render
from job.report.pictures import Picture, read_picture
from job.run.layout import GRIDS, grid_key, grid_step
from job.storage.store import ObjectStore

FRECHET_DISTANCE = "dcgan_quality_frechet_distance"
IMAGES_PER_SECOND = "dcgan_images_per_second"
HOUR = 3600.0


class Series(NamedTuple):
    """A series of the metrics; ``limits`` is its range, if it has one."""

    title: str
    metric: str
    limits: tuple[float, float] | None = None
    may_be_log: bool = False


SERIES = (
    Series("Frechet distance (0 is best)", FRECHET_DISTANCE, may_be_log=True),
    Series("Image diversity", "dcgan_sample_diversity"),
    Series("Loss of the generator", "dcgan_generator_loss"),
    Series("Loss of the discriminator", "dcgan_discriminator_loss"),
    Series("D's accuracy for pairs", "dcgan_discriminator_accuracy", limits=(0.0, 1.0)),
    Series("Images per second", IMAGES_PER_SECOND),
)


class Point(NamedTuple):
    """A value of a series; ``images`` is NaN if the images of a step are unknown."""

    images: float
    seconds: float
    value: float


def build_comparison(comparison: Comparison, stores: Sequence[ObjectStore]) -> bytes:
    """Return the page about ``comparison``; ``stores`` are those of its runs."""
    runs = comparison.runs
    points = [_points(run, store) for run, store in zip(runs, stores, strict=True)]
    at_images, grids = _grids(runs, stores)
    return render(
        "comparison.html.j2",
        comparison=comparison,
        rows=run_table(comparison),
        charts=_charts(comparison, points),
        at_images=f"{at_images:,}",
        grids=grids,
        evaluations=_evaluations(comparison),
        differences=difference_table(comparison),
        written=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
    )


def run_table(comparison: Comparison) -> Table:
    """Return a row for each run, the header first; distances only if they can be compared."""
    heads = ("run", "preset", "state", "step", "images seen", "images/s")
    rows = [
        (
            run.label,
            run.preset,
            run.state,
            *map(_whole, (run.step, run.images_seen, run.images_per_second)),
        )
        for run in comparison.runs
    ]
    if comparison.why_not_comparable:
        return [heads, *rows]
    distances = [
        tuple(
            "" if distance is None else f"{distance:.2f}"
            for distance in (run.best_frechet_distance, run.last_frechet_distance)
        )
        for run in comparison.runs
    ]
    added = [("best Frechet", "last Frechet"), *distances]
    return [(*cells, *more) for cells, more in zip([heads, *rows], added, strict=True)]


def difference_table(comparison: Comparison) -> Table:
    """Return a row for each key that differs, the header first; runs are named by number."""
    numbers = (str(number) for number, _ in enumerate(comparison.runs, start=1))
    are_known = [bool(run.configuration) for run in comparison.runs]
    rows = (
        (
            key,
            *(
                value_text(value) if is_known else "unknown"
                for value, is_known in zip(values, are_known, strict=True)
            ),
        )
        for key, values in comparison.differences.items()
    )
    return [("key", *numbers), *rows]


def value_text(value: Any) -> str:
    """Return a value of a configuration as text; ``none`` also for a key that a run lacks."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _points(run: ComparedRun, store: ObjectStore) -> dict[str, list[Point]]:
    """Return the points of ``SERIES`` by metric; the rest of a history (up to 64 MB) is dropped.

    A score is repeated in every row until the next one: only the first of equal values counts.
    """
    history, per_step = read_metrics(store), run.images_per_step or math.nan
    seconds_at, is_steady = training_clock(history), steady(history.rows)
    found = {}
    for _, metric, *_ in SERIES:
        points = (
            Point(row.step * per_step, seconds_at(row), row.values[metric])
            for row in (is_steady if metric == IMAGES_PER_SECOND else history.rows)
            if metric in row.values and row.step > 0
        )
        found[metric] = [next(equal) for _, equal in groupby(points, lambda point: point.value)]
    return found


def _charts(comparison: Comparison, points: Sequence[dict[str, list[Point]]]) -> list[Chart]:
    """Return the chart of each series over images seen, each followed by that over time."""
    longest = max((of[-1].seconds for run in points for of in run.values() if of), default=0.0)
    unit, unit_name = (HOUR, "hours") if longest > 2 * HOUR else (HOUR / 60, "minutes")
    labels, charts = [run.label for run in comparison.runs], []
    for title, metric, limits, may_be_log in SERIES:
        if metric == FRECHET_DISTANCE and comparison.why_not_comparable:
            continue
        over_images, over_time = [], []
        for number, (label, run) in enumerate(zip(labels, points, strict=True), start=1):
            of = run[metric]
            over_images.append(Line(label, [(point.images, point.value) for point in of], number))
            over_time.append(
                Line(label, [(point.seconds / unit, point.value) for point in of], number)
            )
        for lines, axis in ((over_images, "images seen"), (over_time, f"{unit_name} of training")):
            drawn = chart(
                f"{title}, over {axis}", lines, limits=limits, may_be_log=may_be_log, x_label=""
            )
            if drawn:
                charts.append(_without_bands(drawn))
    return charts


def _without_bands(drawn: Chart) -> Chart:
    """Return a chart without the ranges around its lines: those of several runs would overlap."""
    return drawn._replace(shapes=[shape._replace(band=Markup()) for shape in drawn.shapes])


def _grids(runs: Sequence[ComparedRun], stores: Sequence[ObjectStore]) -> tuple[int, list[Picture]]:
    """Return the smallest of the runs' last grids, in images seen, and a grid of each run.

    That is the one of equal images, or the next below.
    """
    steps = [
        [step for entry in store.list(GRIDS) if (step := grid_step(entry.key)) is not None]
        for store in stores
    ]
    known = [
        (run, store, of, run.images_per_step)
        for run, store, of in zip(runs, stores, steps, strict=True)
        if of and run.images_per_step
    ]
    at_images = min((max(of) * per_step for _, _, of, per_step in known), default=0)
    grids = []
    for run, store, of, per_step in known:
        step = max((step for step in of if step * per_step <= at_images), default=None)
        if step is not None:
            caption = f"{run.label}: step {step:,}, {step * per_step:,} images seen"
            grids.append(read_picture(store, grid_key(step), caption))
    return at_images, [grid for grid in grids if grid]


def _evaluations(comparison: Comparison) -> tuple[Table, str] | None:
    """Return the scores of `evaluate --record` and their basis; None if they say nothing."""
    found = {run.label: run.evaluation for run in comparison.runs if run.evaluation}
    if not found or comparison.why_evaluations_are_not:
        return None
    rows = {label: evaluation.generated for label, evaluation in found.items()}
    return score_table(rows), basis_text(next(iter(found.values())).basis)
