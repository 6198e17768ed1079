"""Line charts as inline SVG: what the report shows without a script, a font or a library of its own.

Knows no run: points in, text out. A chart has at most one point for every two of its pixels; where there are more, the line is their mean and a band
their range, so that a peak is never lost. Colours are CSS variables of the page, for light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 10, 26
BUCKETS = (WIDTH - LEFT - RIGHT) // 2
MAX_MARKS = 100
LOGARITHMIC_FROM = 50.0
SMALLEST = 1e-290  # what is nearer to 0 is drawn as 0: powers of ten and fifths of it would no longer be numbers


@dataclass(frozen=True)
class Line:
    """One series: ``(x, y)`` in order of x; ``colour`` counts the page's colours from 1."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int


class Mark(NamedTuple):
    """A moment: a vertical line of its ``kind`` (``start`` or ``fault``), with words for whoever points at it."""

    x: float
    kind: str
    words: str


class _Bucket(NamedTuple):
    x: float
    mean: float
    low: float
    high: float


class _Scale(NamedTuple):
    low: float
    high: float
    is_log: bool

    def share(self, value: float) -> float:
        if self.is_log:
            return (math.log10(value) - math.log10(self.low)) / (
                math.log10(self.high) - math.log10(self.low)
            )
        return (value - self.low) / (self.high - self.low)


def chart(
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    *,
    limits: tuple[float, float] | None = None,
    may_be_log: bool = False,
    about: str = "",
) -> str:
    """An ``<svg>`` of ``lines`` over steps; empty where they have no point. ``about`` is read to those who do not see it.

    ``may_be_log``: a range of more than ``LOGARITHMIC_FROM`` to 1 gets a logarithmic axis.
    """
    shown = [
        (
            line,
            _buckets([_drawable(point) for point in line.points if all(map(math.isfinite, point))]),
        )
        for line in lines
    ]
    shown = [(line, buckets) for line, buckets in shown if buckets]
    if not shown:
        return ""
    xs = [x for line, _ in shown for x, y in line.points if math.isfinite(x) and math.isfinite(y)]
    across = _Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, False)
    lows, highs = (
        [getattr(bucket, side) for _, buckets in shown for bucket in buckets]
        for side in ("low", "high")
    )
    up = _scale(lows, highs, limits, may_be_log)
    words = f"{about}: " + "; ".join(_words(line) for line, _ in shown)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">',
        *_axes(across, up),
        *(
            _mark(mark, across)
            for mark in list(marks)[:MAX_MARKS]
            if across.low <= mark.x <= across.high
        ),
        *(
            _band(line, buckets, across, up)
            for line, buckets in shown
            if any(bucket.high > bucket.low for bucket in buckets)
        ),
        *(_line(line, buckets, across, up) for line, buckets in shown),
        "</svg>",
    ]
    return "".join(parts)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between ``low`` and ``high``: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def number_text(value: float) -> str:
    """Short: ``1,200``, ``0.25``, ``1.5M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _drawable(point: tuple[float, float]) -> tuple[float, float]:
    return point[0], point[1] if abs(point[1]) >= SMALLEST else 0.0


def _buckets(points: Sequence[tuple[float, float]]) -> list[_Bucket]:
    if len(points) <= BUCKETS:
        return [_Bucket(x, y, y, y) for x, y in points]
    low, high = points[0][0], points[-1][0]
    found: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        found.setdefault(
            min(BUCKETS - 1, int((x - low) / max(high - low, 1e-12) * BUCKETS)), []
        ).append((x, y))
    return [
        _Bucket(
            sum(x for x, _ in group) / len(group),
            sum(y for _, y in group) / len(group),
            min(y for _, y in group),
            max(y for _, y in group),
        )
        for _, group in sorted(found.items())
    ]


def _scale(
    lows: Sequence[float],
    highs: Sequence[float],
    limits: tuple[float, float] | None,
    may_be_log: bool,
) -> _Scale:
    if limits:
        return _Scale(*limits, False)
    low, high = min(lows), max(highs)
    if may_be_log and low > 0 and high / low > LOGARITHMIC_FROM:
        return _Scale(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)), True)
    if low >= 0 and low < high / 2:
        low = 0.0  # a share of the whole is what a rate or a time is read as
    if high <= low:
        return _Scale(low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5, False)
    return _Scale(low - (high - low) * 0.05 if low else 0.0, high + (high - low) * 0.05, False)


def _x(value: float, across: _Scale) -> str:
    return f"{LEFT + across.share(value) * (WIDTH - LEFT - RIGHT):.1f}"


def _y(value: float, up: _Scale) -> str:
    share = min(1.0, max(0.0, up.share(max(value, up.low) if up.is_log else value)))
    return f"{HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM):.1f}"


def _axes(across: _Scale, up: _Scale) -> list[str]:
    if up.is_log:
        first, last = round(math.log10(up.low)), round(math.log10(up.high))
        heights = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 5))]
    else:
        heights = ticks(up.low, up.high)
    parts = []
    for value in heights:
        y = _y(value, up)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{number_text(value)}</text>'
        )
    parts += [
        f'<text class="tick" x="{_x(value, across)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number_text(value)}</text>'
        for value in ticks(across.low, across.high)
    ]
    return [
        *parts,
        f'<text class="tick" x="{LEFT - 6}" y="{HEIGHT - BOTTOM + 18}" text-anchor="end">step</text>',
    ]


def _mark(mark: Mark, across: _Scale) -> str:
    x, kind = _x(mark.x, across), "fault" if mark.kind == "fault" else "start"
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"><title>{escape(mark.words)}</title></line>'


def _line(line: Line, buckets: Sequence[_Bucket], across: _Scale, up: _Scale) -> str:
    if len(buckets) == 1:
        return f'<circle class="fill{line.colour}" cx="{_x(buckets[0].x, across)}" cy="{_y(buckets[0].mean, up)}" r="3"/>'
    points = " ".join(f"{_x(bucket.x, across)},{_y(bucket.mean, up)}" for bucket in buckets)
    return f'<polyline class="line{line.colour}" points="{points}"><title>{escape(line.name)}</title></polyline>'


def _band(line: Line, buckets: Sequence[_Bucket], across: _Scale, up: _Scale) -> str:
    there = [f"{_x(bucket.x, across)},{_y(bucket.high, up)}" for bucket in buckets]
    back = [f"{_x(bucket.x, across)},{_y(bucket.low, up)}" for bucket in reversed(buckets)]
    return f'<polygon class="band{line.colour}" points="{" ".join(there + back)}"/>'


def _words(line: Line) -> str:
    ys = [y for _, y in line.points if math.isfinite(y)]
    return f"{line.name} from {number_text(ys[0])} to {number_text(ys[-1])}, between {number_text(min(ys))} and {number_text(max(ys))}"
