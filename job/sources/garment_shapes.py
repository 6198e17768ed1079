"""Outlines of ten garments, each a list of polygons with a shade: what ``job.sources.garments`` draws.

Coordinates run over a field of 28 x 28, x to the right and y down, with the garment's axis at x = 14. Each function takes
``between(low, high)``, the next of this garment's random numbers. The classes and their order are those of Fashion-MNIST.
"""

from collections.abc import Callable
from typing import NamedTuple

# The formatter would put each point on a line of its own.
# fmt: off

Point = tuple[float, float]
Between = Callable[[float, float], float]


class Part(NamedTuple):
    """One closed polygon. ``shade`` multiplies the garment's tone, 0 is the background; ``smooth`` rounds its corners."""

    points: list[Point]
    shade: float
    smooth: bool = True


def t_shirt(between: Between) -> list[Part]:
    """Short sleeves, standing off."""
    return _top(between, sleeve_end=(between(11.0, 13.3), between(9.0, 13.0)), sleeve_width=between(3.2, 4.8), hem=between(23.0, 26.5))


def trouser(between: Between) -> list[Part]:
    """Two legs with a gap between them."""
    waist, hips, foot = between(3.6, 5.0), between(4.4, 6.2), between(4.2, 6.6)
    top, crotch, leg = between(0.8, 2.2), between(8.5, 12.0), between(2.2, 3.6)
    bottom = between(25.8, 27.4)
    outline = [(waist, top), (hips, crotch - 2), (foot, bottom), (max(foot - leg, 0.5), bottom), (between(0.1, 0.5), crotch)]
    belt = [(waist, top), (waist + 0.1, top + 1.3)]
    return [Part(_mirrored(outline), 1.0, smooth=False), Part(_mirrored(belt), between(0.6, 1.15), smooth=False)]


def pullover(between: Between) -> list[Part]:
    """Long sleeves, hanging."""
    parts = _top(between, sleeve_end=(between(10.2, 12.6), between(21.0, 25.0)), sleeve_width=between(2.8, 3.8), hem=between(23.5, 26.5))
    if between(0, 1) < 0.3:
        parts.append(Part(_mirrored([(between(5.5, 6.5), 24.0), (6.5, 25.8)]), between(0.65, 0.95)))
    return parts


def dress(between: Between) -> list[Part]:
    """A narrow waist over a skirt."""
    shoulder, neck = between(3.2, 5.0), between(1.2, 2.4)
    chest, waist, skirt = between(3.4, 4.8), between(2.6, 3.8), between(4.0, 8.2)
    top, waist_y, hem = between(0.8, 2.2), between(10.0, 13.0), between(25.5, 27.4)
    outline = [
        (0, top + between(1.0, 3.5)), (neck, top), (shoulder, top + 0.8), (chest, 6.0), (waist, waist_y), (skirt, hem), (0, hem + 0.3),
    ]
    parts = [Part(_mirrored(outline), 1.0)]
    if between(0, 1) < 0.5:
        length = between(4.0, 13.0)
        sleeve = [
            (shoulder - 1, top + 0.3), (shoulder + 1.3, top + 1.6), (shoulder + 2.2, top + length), (shoulder + 0.6, top + length + 0.5),
            (chest - 0.8, 6.5),
        ]
        parts = _pair(sleeve, between(0.75, 0.95)) + parts
    if between(0, 1) < 0.4:
        parts.append(Part(_mirrored([(waist, waist_y - 0.6), (waist, waist_y + 0.7)]), between(0.5, 0.75), smooth=False))
    return parts


def coat(between: Between) -> list[Part]:
    """Long sleeves, open down the front, with lapels and buttons."""
    hem = between(25.5, 27.2)
    parts = _top(
        between, sleeve_end=(between(9.8, 11.8), between(21.5, 25.0)), sleeve_width=between(2.8, 3.8), hem=hem, flare=between(0.0, 1.2)
    )
    lapel, bottom = between(1.6, 3.0), between(9.0, 14.0)
    parts += _pair([(0, 3.0), (lapel, 2.6), (lapel + 0.6, 6.0), (0.2, bottom)], between(0.6, 0.8), smooth=False)
    parts.append(_front_line(bottom, hem, between(0.25, 0.45), between(0.35, 0.6)))
    return parts + _buttons(between, bottom + 1, hem - 4)


def sandal(between: Between) -> list[Part]:
    """A sole under straps, from the side: an upper with gaps cut out of it, and a heel of any height."""
    rise, toe, thickness = between(0.5, 8.0), between(20.5, 23.5), between(1.0, 2.2)
    heel = toe - rise  # where the foot stands at the back
    ankle = heel - between(6.0, 9.0)
    upper = [
        (4.5, toe - 0.4), (6.0, toe - 3.0), (11.0, toe - 3.6 - 0.25 * rise), (15.5, heel - 2.6), (18.0, ankle + 0.6), (25.2, ankle),
        (25.6, heel), (17.0, toe - 0.2),
    ]
    sole = [
        (1.6, toe - 0.4), (9.0, toe - 0.5), (17.0, toe - 0.7 - 0.3 * rise), (25.8, heel - 0.3), (26.2, heel + thickness),
        (17.5, toe + thickness * 0.4), (9.0, toe + thickness), (2.0, toe + thickness),
    ]
    parts = [Part(upper, between(0.75, 1.0))]
    num_gaps = 1 + (between(0, 1) < 0.65)
    gap_width = between(2.8, 4.0) if num_gaps == 2 else between(4.0, 6.5)
    for place in range(num_gaps):
        x, slant = 8.0 + (gap_width + between(1.0, 1.9)) * place, between(0.5, 3.0)
        parts.append(
            Part([(x, toe + 1), (x + slant, ankle - 2), (x + slant + gap_width, ankle - 2), (x + gap_width, toe + 1)], 0.0, smooth=False)
        )
    band = between(1.4, 2.2)
    parts.append(Part([(18.5, ankle + band), (24.0, ankle + band - 0.2), (23.8, heel - 0.6), (18.0, heel - 0.2)], 0.0, smooth=False))
    width = between(1.4, 3.0) if between(0, 1) < 0.6 else between(6.0, 12.0)
    parts.append(
        Part(
            [(26.1, heel), (25.9, toe + thickness), (26.0 - width, toe + thickness), (24.6 - width, heel + 1.0)],
            between(0.7, 1.0),
            smooth=False,
        )
    )
    return _turned(between, [*parts, Part(sole, 1.0)])


def shirt(between: Between) -> list[Part]:
    """A collar and a row of buttons; sleeves of any length."""
    length = between(0, 1)
    end = (between(10.5, 12.6), 12.0 + 12.0 * length) if length > 0.35 else (between(11.0, 13.0), between(9.0, 12.5))
    hem = between(24.0, 27.0)
    parts = _top(between, sleeve_end=end, sleeve_width=between(2.8, 4.0), hem=hem, flare=between(0.0, 0.6))
    collar = [(0.2, between(4.0, 5.5)), (between(1.8, 2.8), between(4.0, 5.0)), (2.4, 1.8), (1.2, 1.6)]
    parts += _pair(collar, 1.2, smooth=False)
    parts.append(_front_line(5.0, hem - 0.2, between(0.2, 0.4), between(0.6, 0.85)))
    return parts + _buttons(between, 6.5, hem - 2)


def sneaker(between: Between) -> list[Part]:
    """A low shoe over a light sole, with laces."""
    ground, collar = between(20.0, 22.5), between(8.5, 12.0)
    sole, toe_height = between(1.6, 2.8), between(3.5, 5.2)
    throat = between(14.0, 16.5)
    upper = [
        (26.4, collar), (26.9, ground - sole), (1.6, ground - sole), (1.4, ground - sole - toe_height * 0.6),
        (4.5, ground - sole - toe_height), (10.0, ground - sole - toe_height - 1.6), (throat, collar + 0.8), (throat + 1.6, collar - 0.6),
        (20.5, collar + between(0.8, 2.0)), (24.5, collar - 0.4),
    ]
    parts = [Part(upper, between(0.6, 1.0))]
    parts.append(
        Part(
            [(27.2, ground - sole - 0.2), (26.8, ground), (1.8, ground), (0.9, ground - sole + 0.1), (10, ground - sole + 0.4)],
            between(0.9, 1.35),
        )
    )
    if between(0, 1) < 0.6:
        x, slant = between(15.0, 18.0), between(-3.0, 3.0)
        parts.append(
            Part(
                [(x, ground - sole), (x + slant, collar + 3.5), (x + slant + 2.2, collar + 3.2), (x + 3.0, ground - sole)],
                between(0.45, 1.4),
                smooth=False,
            )
        )
    for place in range(3):
        x, y = 8.6 + 2.2 * place, ground - sole - toe_height - 1.1 - (ground - sole - toe_height - collar - 1.5) * 0.24 * place
        parts.append(Part([(x, y), (x + 1.6, y + 1.2), (x + 1.1, y + 1.9), (x - 0.5, y + 0.8)], between(0.4, 1.5), smooth=False))
    return _turned(between, parts)


def bag(between: Between) -> list[Part]:
    """A body with a handle, maybe a flap and a clasp."""
    top, bottom = between(8.5, 13.5), between(23.0, 26.5)
    upper, lower = between(8.5, 12.8), between(9.0, 13.0)
    handle, width, high = between(3.5, 8.0), between(0.7, 1.6), between(1.2, 5.0)
    parts = [
        Part(_mirrored([(handle, top + 1), (handle, high + 1.5), (handle * 0.6, high), (0, high - 0.4)]), between(0.7, 1.0)),
        Part(
            _mirrored(
                [
                    (handle - width, top + 1), (handle - width, high + 1.5 + width), (handle * 0.6 - width / 2, high + width),
                    (0, high + width),
                ]
            ),
            0.0,
        ),
    ]
    parts.append(Part(_mirrored([(upper - 0.8, top), (upper, top + 1), (lower, bottom - 1), (lower - 0.9, bottom)]), 1.0, smooth=False))
    if between(0, 1) < 0.6:
        flap = top + between(3.0, 8.0)
        parts.append(
            Part(
                _mirrored([(upper - 0.6, top + 0.2), (upper, top + 1), (upper - 0.4, flap - 1.4), (upper * 0.5, flap)]),
                between(0.6, 0.88),
                smooth=False,
            )
        )
        parts.append(Part(_mirrored([(0.9, flap - 1.6), (0.9, flap + 0.6)]), between(0.3, 1.6), smooth=False))
    if between(0, 1) < 0.4:
        line = between(bottom - 4, bottom - 1.5)
        parts.append(Part(_mirrored([(lower - 0.3, line), (lower - 0.2, line + 0.6)]), 0.6, smooth=False))
    return parts


def boot(between: Between) -> list[Part]:
    """A shaft over a foot with a heel."""
    top, ground = between(1.0, 6.0), between(24.5, 26.8)
    sole, shaft = between(1.0, 1.8), between(13.0, 16.5)
    instep = ground - between(8.5, 10.5)
    foot = [
        (shaft, top), (24.8, top + between(-0.5, 0.8)), (25.4, 12.0), (25.2, ground - sole), (2.2, ground - sole),
        (1.8, ground - sole - 2.2), (5.0, ground - sole - 4.6), (10.5, ground - sole - 6.0), (shaft - 0.8, instep),
    ]
    parts = [Part(foot, 1.0)]
    heel = between(3.0, 7.0)
    parts.append(
        Part(
            [
                (25.6, ground - sole - 0.3), (25.3, ground), (25.4 - heel, ground), (24.6 - heel, ground - sole + 0.5),
                (12.0, ground - 0.3), (2.6, ground - 0.2), (1.8, ground - sole - 0.2),
            ],
            between(0.4, 1.2),
            smooth=False,
        )
    )
    if between(0, 1) < 0.6:
        parts.append(
            Part(
                [(shaft - 0.2, top + 0.4), (24.8, top + 0.4), (24.9, top + 2.2), (shaft - 0.2, top + 2.2)], between(0.6, 1.25), smooth=False
            )
        )
    if between(0, 1) < 0.45:
        parts.append(Part([(19.0, top + 2.5), (20.8, top + 2.5), (21.4, instep + 1), (18.6, instep + 1)], between(0.5, 0.75), smooth=False))
    return _turned(between, parts)


SHAPES = (t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, boot)
CLASS_NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def _top(between: Between, sleeve_end: Point, sleeve_width: float, hem: float, flare: float = 0.0) -> list[Part]:
    """A body with two sleeves from the shoulder to ``sleeve_end`` (distance from the axis, y)."""
    shoulder, shoulder_y = between(6.0, 7.2), between(2.6, 4.0)
    chest, hips = between(5.4, 6.8), between(5.2, 7.0) + flare
    neck, depth = between(1.8, 3.0), between(0.4, 2.8)
    out, down = sleeve_end
    body = [
        (0, 2.0 + depth), (neck, 1.8), (shoulder, shoulder_y), (chest, 9.5), (hips, hem - 1.2), (hips - 0.2, hem),
        (0, hem + between(-0.2, 0.5)),
    ]
    drop = (down - shoulder_y) / (out - shoulder + 6)
    inner = max(out - sleeve_width, chest + 0.2)
    sleeve = [
        (shoulder - 2.6, shoulder_y - 1.0), (shoulder + 0.8, shoulder_y + 0.6), (out, down - 1.0),
        (inner, down + (0.4 if drop > 1 else 1.2)), (chest - 0.4, 9.8),
    ]
    return [*_pair(sleeve, between(0.8, 1.0)), Part(_mirrored(body), 1.0)]


def _front_line(top: float, bottom: float, half_width: float, shade: float) -> Part:
    return Part(_mirrored([(half_width, top), (half_width, bottom)]), shade, smooth=False)


def _buttons(between: Between, top: float, bottom: float) -> list[Part]:
    """Three to six squares down the front."""
    count, shade, x = int(between(3, 7)), between(0.2, 1.5), 14 + between(0.2, 1.0)
    step = (bottom - top) / count
    ys = [top + step * place for place in range(count)]
    return [Part([(x, y), (x + 0.7, y), (x + 0.7, y + 0.7), (x, y + 0.7)], shade, smooth=False) for y in ys]


def _mirrored(right: list[Point]) -> list[Point]:
    """A closed outline from its right half, given from top to bottom as distances from the axis."""
    return [(14 + x, y) for x, y in right] + [(14 - x, y) for x, y in reversed(right)]


def _pair(right: list[Point], shade: float, smooth: bool = True) -> list[Part]:
    """A part on the right of the axis, given as distances from it, and its twin on the left."""
    return [Part([(14 + side * x, y) for x, y in right], shade, smooth) for side in (1, -1)]


def _turned(between: Between, parts: list[Part]) -> list[Part]:
    """Shoes point left, as in Fashion-MNIST; one in ten points right."""
    if between(0, 1) < 0.9:
        return parts
    return [part._replace(points=[(28 - x, y) for x, y in part.points]) for part in parts]
