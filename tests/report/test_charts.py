"""Charts have round ticks, keep every peak among many points, and draw any number."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import pytest

from job.report.charts import HEIGHT, NUM_BUCKETS, WIDTH, Line, Mark, chart, number_text, ticks
from job.report.page import render

SVG = "{http://www.w3.org/2000/svg}"


def draw(lines: Sequence[Line], marks: Sequence[Mark] = (), *, may_be_log: bool = False) -> str:
    """Return the chart as SVG; empty if it has no point."""
    found = chart("Losses", lines, marks, may_be_log=may_be_log)
    return render("chart.svg.j2", chart=found).decode() if found else ""


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(
        svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )


def points(svg: str, kind: str, of: str = "line1") -> list[tuple[float, float]]:
    shape = parsed(svg).find(f"{SVG}{kind}[@class='{of}']")
    assert shape is not None, svg
    pairs = (pair.split(",") for pair in shape.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (20, 6000, [2000, 4000, 6000]),
        (0, 18750, [0, 5000, 10000, 15000]),
        (0.31, 0.37, [0.32, 0.34, 0.36]),
        (-3, 3, [-2, 0, 2]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1e-7, "1e-07"),
        (1200, "1,200"),
        (12_500, "12.5k"),
        (2_500_000, "2.5M"),
        (-4, "-4"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_line_goes_from_its_first_to_its_last_point() -> None:
    svg = draw([Line("loss", [(20, 0.5), (40, 0.7), (60, 0.6)], 1)])
    (x0, y0), (x1, y1), (x2, y2) = points(svg, "polyline")
    assert x0 < x1 < x2 <= WIDTH
    assert y1 < y2 < y0 <= HEIGHT, "larger values are higher"
    assert parsed(svg).attrib["aria-label"] == "Losses: loss from 0.5 to 0.6, between 0.5 and 0.7"


def test_no_peak_of_very_many_points_is_lost() -> None:
    values = [(float(step), 1.0) for step in range(100_000)]
    values[54_321] = (54_321.0, 9.0)
    svg = draw([Line("norm", values, 1)])
    assert len(points(svg, "polyline")) <= NUM_BUCKETS
    band = points(svg, "polygon", "band1")
    assert min(y for _, y in band) < HEIGHT / 4
    assert len(svg) < 20_000


def test_a_wide_range_is_logarithmic_if_allowed() -> None:
    svg = draw([Line("norm", [(1, 0.01), (2, 1.0), (3, 100.0)], 1)], may_be_log=True)
    (_, low), (_, middle), (_, high) = points(svg, "polyline")
    assert middle == pytest.approx((low + high) / 2, abs=0.2)
    assert {">0.01<", ">1<", ">100<"} <= set(re.findall(r">[\d.]+<", svg))


def test_marks_are_drawn_at_their_steps_with_a_tooltip() -> None:
    line = Line("loss", [(0, 1.0), (100, 2.0)], 1)
    svg = draw([line], [Mark(50, "incident", "<nan>"), Mark(500, "restart", "outside")])
    [mark] = parsed(svg).findall(f"{SVG}line[@class='incident']")
    (left, _), (right, _) = points(svg, "polyline")
    assert float(mark.attrib["x1"]) == pytest.approx((left + right) / 2, abs=0.1)
    assert mark.findtext(f"{SVG}title") == "<nan>"
    assert "outside" not in svg


@pytest.mark.parametrize(
    "values",
    [
        [],
        [(1.0, math.nan)],
        [(1.0, math.inf), (2.0, 1.0)],
        [(5.0, 3.0)],
        [(5.0, 3.0), (5.0, 4.0)],
        [(1.0, 0.0), (2.0, 0.0)],
        [(1.0, -1e12), (2.0, 1e12)],
        [(1.0, 1e-300), (2.0, 1e299)],
        [(float(n), 7.0) for n in range(1000)],
    ],
    ids=[
        "none",
        "nan",
        "inf",
        "one",
        "one step",
        "zeros",
        "both signs",
        "all magnitudes",
        "constant",
    ],
)
@pytest.mark.parametrize("may_be_log", [False, True])
def test_no_numbers_break_a_chart(values: list[tuple[float, float]], may_be_log: bool) -> None:
    svg = draw([Line("<b>&", values, 1)], may_be_log=may_be_log)
    assert "nan" not in svg
    assert "inf" not in svg
    if svg:
        parsed(svg)
