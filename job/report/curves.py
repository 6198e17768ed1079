"""The report's curves: from the rows of a run to charts, with starts and faults marked."""

import datetime
from collections.abc import Callable, Sequence
from itertools import pairwise

from job.report.charts import Line, Mark, chart
from job.report.incidents import Incident
from job.report.metric_history import MetricHistory
from job.report.page import chart_card
from job.run.metric_rows import Row

BEGINNINGS = ("start", "compile")

Points = list[tuple[float, float]]


def curves(history: MetricHistory, faults: Sequence[Incident]) -> str:
    """All charts that have a line, as HTML."""
    marks = _marks(history, faults)
    rows = history.rows

    def card(
        title: str,
        lines: Sequence[Line],
        limits: tuple[float, float] | None = None,
        may_be_log: bool = False,
    ) -> str:
        drawn = [line for line in lines if line.points]
        svg = chart(drawn, marks, limits=limits, may_be_log=may_be_log, about=title)
        return chart_card(title, [(line.name, line.colour) for line in drawn], svg)

    cards = [
        card(
            "Losses",
            [
                Line("discriminator", of(rows, "dcgan_discriminator_loss"), 1),
                Line("generator", of(rows, "dcgan_generator_loss"), 2),
            ],
        ),
        card(
            "Probability of being real, as D sees it",
            [
                Line("real images: D(x)", of(rows, "dcgan_real_probability"), 1),
                Line("generated ones: D(G(z))", of(rows, "dcgan_fake_probability"), 2),
            ],
            limits=(0.0, 1.0),
        ),
        card(
            "Gradient norms",
            [
                Line("discriminator", of(rows, "dcgan_discriminator_gradient_norm"), 1),
                Line("generator", of(rows, "dcgan_generator_gradient_norm"), 2),
            ],
            may_be_log=True,
        ),
        card(
            "Images per second, all workers",
            [Line("images/s", of(steady(rows), "dcgan_images_per_second"), 1)],
        ),
        card(
            "Milliseconds of a step, first worker",
            [
                Line("whole step", per_step(rows, "dcgan_step_seconds_sum"), 1),
                Line("computing gradients", per_step(rows, "dcgan_compute_seconds_total"), 3),
                Line("waiting for images", per_step(rows, "dcgan_data_wait_seconds_total"), 2),
            ],
        ),
        card(
            "Diversity of images: deviation of a pixel",
            [
                Line("generated", of(rows, "dcgan_sample_diversity"), 2),
                Line("data set", of(rows, "dcgan_data_diversity"), 1),
            ],
        ),
    ]
    shown = "".join(cards)
    return f'<div class="charts">{shown}</div>{_key_of(marks)}' if shown else ""


def of(rows: Sequence[Row], name: str) -> Points:
    """One series over steps; rows without it are left out, and so are those of no step."""
    return [
        (float(row.step), row.values[name]) for row in rows if name in row.values and row.step > 0
    ]


def steady(rows: Sequence[Row]) -> list[Row]:
    """Without the first row after each start, whose steps were compiled: beside that time no other could be seen."""
    return [row for before, row in pairwise(rows) if before.phase not in BEGINNINGS]


def per_step(rows: Sequence[Row], name: str) -> Points:
    """A counter of seconds as milliseconds for each step between two rows of one start, but not while the first call was compiled."""
    points = []
    for before, row in pairwise(rows):
        num_steps = row.step - before.step
        if (
            before.attempt == row.attempt
            and before.phase not in BEGINNINGS
            and num_steps > 0
            and name in row.values
        ):
            seconds = row.values[name] - before.values.get(name, 0.0)
            if seconds >= 0:
                points.append((float(row.step), seconds / num_steps * 1000))
    return points


def seconds_of(history: MetricHistory) -> float:
    """Time from each start's first to its last row, together: that of steps which were trained again included."""
    return sum(
        max(0.0, _between(history.first_rows[start].time, row.time))
        for start, row in history.last_rows.items()
    )


def _between(first: str, last: str) -> float:
    read: Callable[[str], datetime.datetime] = datetime.datetime.fromisoformat
    try:
        return (read(last) - read(first)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _marks(history: MetricHistory, faults: Sequence[Incident]) -> list[Mark]:
    starts = list(history.first_rows.values())[1:]
    marks = [
        Mark(float(row.step), "start", f"started again from step {row.step:,}")
        for row in starts
        if row.step > 0
    ]
    marks += [
        Mark(float(fault.step), "fault", f"{fault.kind}: {fault.words}")
        for fault in faults
        if fault.step and "finite" in fault.kind
    ]
    return marks


def _key_of(marks: Sequence[Mark]) -> str:
    kinds = {mark.kind for mark in marks}
    words = [
        words
        for kind, words in (
            ("start", "dashed: the workers started again"),
            ("fault", "red: a number was not finite"),
        )
        if kind in kinds
    ]
    return f'<p class="soft">{"; ".join(words)}.</p>' if words else ""
