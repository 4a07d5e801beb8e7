"""Charts as inline SVG. Colours are CSS classes, which the style sheet of the page defines for light and dark mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 420, 230  # in units of the drawing, which is scaled to the width of its column
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 30
MAX_POINTS = 240  # of a curve
ROW, LABELS, VALUES = 24, 130, 78  # height of a row, widths of its label and its value
STAR = "M0-7 1.8-2.3 6.7-2.2 2.9.9 4.1 5.7 0 2.9-4.1 5.7-2.9.9-6.7-2.2-1.8-2.3Z"


@dataclass(frozen=True)
class Curve:
    """`y` over `x`, drawn in the style of these classes."""

    style: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Bar:
    """A row: its value, drawn as a bar, or as a mark with an `interval`; `text` is the value as it is shown."""

    name: str
    style: str
    value: float
    text: str
    interval: tuple[float, float] | None = None
    is_champion: bool = False


def curves(title: str, lines: Sequence[Curve], x_label: str) -> str:
    """Curves over a common axis. Values that are not finite are left out."""
    x_low, x_high = _range(np.concatenate([line.x for line in lines]))
    y_low, y_high = _range(np.concatenate([line.y for line in lines]))
    across = _Scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    up = _Scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    parts = [*_y_axis(up), *_x_axis(across, x_label), *(_curve(line, across, up) for line in lines)]
    return _svg(title, HEIGHT, parts)


def bars(title: str, rows: Sequence[Bar]) -> str:
    """A row for each value, with bars from zero."""
    high = max([row.value for row in rows] + [0.0]) or 1.0
    scale = _Scale(0.0, high, LABELS, WIDTH - VALUES)
    return _svg(title, ROW * len(rows), [part for index, row in enumerate(rows) for part in _bar(row, index, scale)])


def intervals(title: str, rows: Sequence[Bar]) -> str:
    """A row for each value, with a mark at the value and a line over its interval, above a common axis."""
    ends = [end for row in rows for end in (row.value, *(row.interval or ()))]
    low, high = _range(np.array(ends))
    scale = _Scale(low, high, LABELS + 8, WIDTH - 12)
    height = ROW * len(rows)
    axis = [
        f'<line class="grid" x1="{scale(tick):.1f}" x2="{scale(tick):.1f}" y1="0" y2="{height}"/>'
        f'<text x="{scale(tick):.1f}" y="{height + 15}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(low, high, 3)
    ]
    marks = [part for index, row in enumerate(rows) for part in _interval(row, index, scale)]
    return _svg(title, height + 20, [*axis, *marks])


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _range(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest finite value, apart from each other."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = max(abs(low), 1.0) / 2 if low == high else 0.0
    return low - margin, high + margin


def _ticks(low: float, high: float, count: int, *, integer: bool = False) -> list[float]:
    """Round numbers, or integers, within the range."""
    ticks = MaxNLocator(count, integer=integer, min_n_ticks=1).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def _y_axis(up: _Scale) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in _ticks(up.low, up.high, 5)
    ]


def _x_axis(across: _Scale, label: str) -> list[str]:
    place = HEIGHT - BOTTOM
    axis = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place}" y2="{place}"/>'
    ticks = [
        f'<text x="{across(tick):.1f}" y="{place + 15}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(across.low, across.high, 6, integer=True)
    ]
    name = f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 1}" text-anchor="middle">{escape(label)}</text>'
    return [axis, *ticks, name]


def _curve(line: Curve, across: _Scale, up: _Scale) -> str:
    shown = np.unique(np.linspace(0, len(line.x) - 1, min(len(line.x), MAX_POINTS)).astype(int))
    points = [
        f"{across(x):.1f},{up(y):.1f}"
        for x, y in zip(line.x[shown].tolist(), line.y[shown].tolist(), strict=True)
        if np.isfinite(y)
    ]
    if len(points) == 1:
        x, y = points[0].split(",")
        return f'<circle class="dot {line.style}" cx="{x}" cy="{y}" r="3"/>'
    return f'<polyline class="curve {line.style}" points="{" ".join(points)}"/>'


def _bar(row: Bar, index: int, scale: _Scale) -> list[str]:
    top, width = index * ROW, max(1.0, scale(row.value) - LABELS)
    return [
        _label(row, top),
        f'<rect class="bar {row.style}" x="{LABELS}" y="{top + 6}" width="{width:.1f}" height="{ROW - 12}" rx="2"/>',
        f'<text class="value" x="{LABELS + width + 5:.1f}" y="{top + 16}">{escape(row.text)}</text>',
    ]


def _interval(row: Bar, index: int, scale: _Scale) -> list[str]:
    top, middle = index * ROW, index * ROW + ROW / 2
    low, high = row.interval or (row.value, row.value)
    line = f'<line class="range {row.style}" x1="{scale(low):.1f}" x2="{scale(high):.1f}" y1="{middle}" y2="{middle}"/>'
    place = f'transform="translate({scale(row.value):.1f} {middle})"'
    mark = f'<path class="mark {row.style}" {place} d="{STAR}"/>' if row.is_champion else ""
    mark = mark or f'<circle class="mark {row.style}" {place} r="4.5"/>'
    return [_label(row, top), line, mark]


def _label(row: Bar, top: float) -> str:
    style = "name champion" if row.is_champion else "name"
    return f'<text class="{style}" x="0" y="{top + 16}">{escape(row.name)}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">\n{"".join(parts)}\n</svg>'
