"""The report's charts: from the metric rows of a run to series over steps."""

import datetime
from collections.abc import Callable, Sequence
from itertools import pairwise

from job.report.charts import Chart, Line, Mark, Points, chart
from job.report.incidents import NOT_FINITE, WORSE_IMAGES, Incident
from job.report.metric_history import MetricHistory
from job.run.metric_rows import Row

COMPILING = ("start", "compile")


def training_charts(history: MetricHistory, incidents: Sequence[Incident]) -> list[Chart]:
    """Return all charts that have a point, with restarts and incidents marked."""
    rows, marks = history.rows, _marks(history, incidents)

    def over_steps(name: str, colour: int, metric: str) -> Line:
        return Line(name, series(rows, metric), colour)

    def per_step(name: str, colour: int, metric: str) -> Line:
        return Line(name, milliseconds_per_step(rows, metric), colour)

    charts = [
        chart(
            "Losses",
            [
                over_steps("discriminator", 1, "dcgan_discriminator_loss"),
                over_steps("generator", 2, "dcgan_generator_loss"),
            ],
            marks,
        ),
        chart(
            "D's probability that an image is real, and its accuracy for pairs",
            [
                over_steps("real images: D(x)", 1, "dcgan_real_probability"),
                over_steps("generated images: D(G(z))", 2, "dcgan_fake_probability"),
                over_steps("accuracy", 3, "dcgan_discriminator_accuracy"),
            ],
            marks,
            limits=(0.0, 1.0),
        ),
        chart(
            "Gradient norms",
            [
                over_steps("discriminator", 1, "dcgan_discriminator_gradient_norm"),
                over_steps("generator", 2, "dcgan_generator_gradient_norm"),
            ],
            marks,
            may_be_log=True,
        ),
        chart(
            "Images per second, all workers",
            [Line("images/s", series(steady(rows), "dcgan_images_per_second"), 1)],
            marks,
        ),
        chart(
            "Milliseconds per step, chief",
            [
                per_step("whole step", 1, "dcgan_step_seconds_sum"),
                per_step("computing gradients", 3, "dcgan_compute_seconds_total"),
                per_step("waiting for images", 2, "dcgan_data_wait_seconds_total"),
            ],
            marks,
        ),
        chart(
            "Frechet distance to the real images (0 is best)",
            [over_steps("generated", 2, "dcgan_quality_frechet_distance")],
            marks,
            may_be_log=True,
        ),
        chart(
            "Precision (are they good?) and coverage (are all kinds there?)",
            [
                over_steps("precision", 1, "dcgan_quality_precision"),
                over_steps("coverage", 2, "dcgan_quality_coverage"),
            ],
            marks,
            limits=(0.0, 1.0),
        ),
        chart(
            "Image diversity: standard deviation of a pixel",
            [
                over_steps("generated", 2, "dcgan_sample_diversity"),
                over_steps("data set", 1, "dcgan_data_diversity"),
            ],
            marks,
        ),
    ]
    return [drawn for drawn in charts if drawn]


def series(rows: Sequence[Row], name: str) -> Points:
    """Return one series over steps, without step 0."""
    return [
        (float(row.step), row.values[name]) for row in rows if name in row.values and row.step > 0
    ]


def steady(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without the first of each attempt, which includes compiling."""
    return [row for before, row in pairwise(rows) if before.phase not in COMPILING]


def milliseconds_per_step(rows: Sequence[Row], name: str) -> Points:
    """Return a counter of seconds as milliseconds per step, between two rows of one attempt."""
    points = []
    for before, row in pairwise(rows):
        num_steps = row.step - before.step
        is_steady = before.attempt == row.attempt and before.phase not in COMPILING
        if is_steady and num_steps > 0 and name in row.values:
            seconds = row.values[name] - before.values.get(name, 0.0)
            if seconds >= 0:
                points.append((float(row.step), seconds / num_steps * 1000))
    return points


def seconds_trained(history: MetricHistory) -> float:
    """Return the time from first to last row, summed over attempts; repeated steps count again."""
    return sum(_attempt_seconds(history, row) for row in history.last_rows.values())


def training_clock(history: MetricHistory) -> Callable[[Row], float]:
    """Return a function from a row to the seconds trained up to it, without pauses."""
    begins, total = {}, 0.0
    for attempt, last in history.last_rows.items():
        begins[attempt] = total
        total += _attempt_seconds(history, last)
    return lambda row: begins[row.attempt] + _attempt_seconds(history, row)


def _attempt_seconds(history: MetricHistory, row: Row) -> float:
    """Return the time from the first row of an attempt to one of its rows."""
    return max(0.0, _seconds_between(history.first_rows[row.attempt].time, row.time))


def _seconds_between(first: str, last: str) -> float:
    try:
        begin, end = map(datetime.datetime.fromisoformat, (first, last))
        return (end - begin).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _marks(history: MetricHistory, incidents: Sequence[Incident]) -> list[Mark]:
    restarts = [
        Mark(float(row.step), "restart", f"restarted from step {row.step:,}")
        for row in list(history.first_rows.values())[1:]
        if row.step > 0
    ]
    return restarts + [
        Mark(float(incident.step), "incident", f"{incident.kind}: {incident.details}")
        for incident in incidents
        if incident.step and incident.kind in (NOT_FINITE, WORSE_IMAGES)
    ]
