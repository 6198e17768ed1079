"""Line charts: from series over steps to the coordinates that ``templates/chart.svg.j2`` draws.

A chart has at most one point for every two pixels. If there are more, the line is their mean and a
band shows their range, so no peak is lost. Colours are CSS variables of the page.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 52, WIDTH - 14, 10, HEIGHT - 26
NUM_BUCKETS = (RIGHT - LEFT) // 2
MAX_MARKS = 100
LOG_SCALE_RATIO = 50.0
MIN_VALUE = 1e-290  # smaller values are drawn as 0: their logarithms and ticks would underflow

Points = Sequence[tuple[float, float]]


class Line(NamedTuple):
    """One series of ``(x, y)`` in the order of x; ``colour`` is the number of a page colour."""

    name: str
    points: Points
    colour: int


class Mark(NamedTuple):
    """A vertical line at ``x``; ``kind`` is its CSS class, ``text`` its tooltip."""

    x: float
    kind: str
    text: str


class Shape(NamedTuple):
    """A drawn line: SVG points; ``band`` is empty if every bucket has one value."""

    name: str
    colour: int
    points: Markup
    band: Markup


class Chart(NamedTuple):
    """A chart for the template. Positions are in SVG units, as text; ticks have their labels."""

    title: str
    description: str
    shapes: list[Shape]
    marks: list[tuple[str, Mark]]
    x_ticks: list[tuple[str, str]]
    y_ticks: list[tuple[str, str]]
    x_label: str


class Bucket(NamedTuple):
    """The points of two pixels."""

    x: float
    mean: float
    low: float
    high: float


class Scale(NamedTuple):
    """A range of values on an axis from ``start`` to ``end``, in SVG units."""

    low: float
    high: float
    start: int
    end: int
    is_log: bool = False

    def place(self, value: float) -> str:
        """Return the position of ``value``, at most at an end of the axis."""
        low, high = self.low, self.high
        value = min(high, max(low, value))
        if self.is_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return f"{self.start + (value - low) / (high - low) * (self.end - self.start):.1f}"

    def ticks(self) -> list[tuple[str, str]]:
        """Return position and label of each tick."""
        if self.is_log:
            first, last = round(math.log10(self.low)), round(math.log10(self.high))
            values = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 5))]
        else:
            values = ticks(self.low, self.high)
        return [(self.place(value), number_text(value)) for value in values]


def chart(
    title: str,
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    *,
    limits: tuple[float, float] | None = None,
    may_be_log: bool = False,
    x_label: str = "step",
) -> Chart | None:
    """Return the chart of ``lines``; None if they have no finite point.

    With ``may_be_log`` a range of more than ``LOG_SCALE_RATIO`` to 1 gets a logarithmic axis.
    """
    shown = [(line, points) for line in lines if (points := _finite(line.points))]
    if not shown:
        return None
    xs = [x for _, points in shown for x, _ in points]
    across = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT, RIGHT)
    buckets = [_buckets(points) for _, points in shown]
    low = min(bucket.low for line in buckets for bucket in line)
    high = max(bucket.high for line in buckets for bucket in line)
    up = Scale(*limits, BOTTOM, TOP) if limits else _value_scale(low, high, may_be_log)
    return Chart(
        title,
        f"{title}: " + "; ".join(_description(line.name, points) for line, points in shown),
        [_shape(line, of, across, up) for (line, _), of in zip(shown, buckets, strict=True)],
        [
            (across.place(mark.x), mark)
            for mark in marks[:MAX_MARKS]
            if across.low <= mark.x <= across.high
        ],
        across.ticks(),
        up.ticks(),
        x_label,
    )


def ticks(low: float, high: float, max_ticks: int = 5) -> list[float]:
    """Return round numbers in a range: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def number_text(value: float) -> str:
    """Return a short text: ``1,200``, ``0.25``, ``1.5M``."""
    for size, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / unit:.4g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _finite(points: Points) -> list[tuple[float, float]]:
    return [
        (x, y if abs(y) >= MIN_VALUE else 0.0)
        for x, y in points
        if math.isfinite(x) and math.isfinite(y)
    ]


def _buckets(points: Points) -> list[Bucket]:
    if len(points) <= NUM_BUCKETS:
        return [Bucket(x, y, y, y) for x, y in points]
    first, width = points[0][0], max(points[-1][0] - points[0][0], 1e-12) / NUM_BUCKETS
    groups: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        groups.setdefault(min(NUM_BUCKETS - 1, int((x - first) / width)), []).append((x, y))
    buckets = []
    for _, group in sorted(groups.items()):
        xs, ys = zip(*group, strict=True)
        buckets.append(Bucket(sum(xs) / len(xs), sum(ys) / len(ys), min(ys), max(ys)))
    return buckets


def _value_scale(low: float, high: float, may_be_log: bool) -> Scale:
    if may_be_log and low > 0 and high / low > LOG_SCALE_RATIO:
        decades = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return Scale(10.0 ** decades[0], 10.0 ** decades[1], BOTTOM, TOP, is_log=True)
    if low >= 0 and low < high / 2:
        low = 0.0  # rates and times are read as shares of the whole
    if high <= low:
        return Scale(low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5, BOTTOM, TOP)
    margin = (high - low) * 0.05
    return Scale(low - margin if low else 0.0, high + margin, BOTTOM, TOP)


def _shape(line: Line, buckets: Sequence[Bucket], across: Scale, up: Scale) -> Shape:
    xs = [across.place(bucket.x) for bucket in buckets]
    points, highs, lows = (
        [f"{x},{up.place(getattr(of, side))}" for x, of in zip(xs, buckets, strict=True)]
        for side in ("mean", "high", "low")
    )
    has_band = any(bucket.high > bucket.low for bucket in buckets)
    band = highs + lows[::-1] if has_band else []
    return Shape(line.name, line.colour, Markup(" ".join(points)), Markup(" ".join(band)))


def _description(name: str, points: Points) -> str:
    ys = [y for _, y in points]
    first, last, low, high = map(number_text, (ys[0], ys[-1], min(ys), max(ys)))
    return f"{name} from {first} to {last}, between {low} and {high}"
