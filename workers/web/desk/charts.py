"""Numbers as pictures: inline SVG without script or style. Colours come from `desk.css` by class, so both themes fit.

Every picture says its point in words, too (`title`, `desc`): that is what a screen reader reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

WIDTH, LEFT, RIGHT, ROW = 560, 40, 12, 12
"""px of the drawing, whatever size a page gives it; what is left and right of the plot; a row of text."""

Text = Callable[[float], str]
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A threshold."""

    value: float
    label: str
    style: str = "warn"
    """`good`, `warn`, `bad` or `faint`."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line over time. None: nothing was measured then, and the line has a gap."""

    name: str
    points: Sequence[tuple[datetime, float | None]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of `bars`; `low` and `high` are the ends of its interval."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


def plain(value: float) -> str:
    """`1,234`, `12.3`, `0.012`."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 or value == 0 else f"{value:.3g}"


def histogram(
    values: ArrayLike,
    *,
    title: str,
    desc: str,
    marker: float | None = None,
    lines: Sequence[Line] = (),
    bins: int = 40,
    height: int = 76,
    text: Text = plain,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """Where `marker` falls among `values`. A marker or line outside the axis stands at its end, with an arrow.

    The axis spans the values without the outermost hundredth at each end, or `limits`; `height` is the tallest bar's.
    """
    numbers = np.asarray(values, dtype=np.float64)
    low, high = limits or _span(numbers)
    counts, edges = np.histogram(np.clip(numbers, low, high), bins=bins, range=(low, high))
    top = ROW * len(lines) + ROW + 2  # a row of text for each line, and one for the marker
    base = top + height
    x = _scale(low, high, LEFT, WIDTH - RIGHT)
    y = _scale(0, max(int(counts.max()), 1), base, top)
    parts = [
        _columns(
            [(x(edge), y(count)) for edge, count in zip(edges, counts, strict=False) if count],
            base,
            (x(high) - x(low)) / bins,
        ),
        _floor(base),
    ]
    parts += [_tick(x(value), base + ROW + 2, text(value), at) for value, at in ((low, "start"), (high, "end"))]
    for row, line in enumerate(lines, 1):
        parts.append(_threshold(line, _inside(x, line.value, low, high), row * ROW, base))
    if marker is not None:
        parts.append(_marker(_inside(x, marker, low, high), top - 2, base, _arrowed(marker, low, high, text)))
    return _svg(parts, base + ROW + 6, title, desc)


def lines(
    series: Sequence[Series],
    *,
    title: str,
    desc: str,
    thresholds: Sequence[Line] = (),
    height: int = 160,
    text: Text = plain,
    limits: tuple[float, float] | None = None,
) -> Markup:
    """One or more measures over time, UTC; at most four, as more cannot be told apart."""
    times = [moment for one in series for moment, _ in one.points]
    measured = [value for one in series for _, value in one.points if value is not None]
    if not measured:
        return _svg([_tick(WIDTH / 2, height / 2, "nothing measured yet", "middle")], height, title, desc)
    low, high = limits or _padded(*_ends([*measured, *(line.value for line in thresholds)]))
    first, last = min(times), max(times)
    base, top = height - 18, 22
    x = _scale(first.timestamp(), max(last.timestamp(), first.timestamp() + 1), LEFT + 20, WIDTH - RIGHT)
    y = _scale(low, high, base, top)
    parts = [_floor(base)]
    parts += [_tick(x(moment.timestamp()), height - 4, _day(moment), at) for moment, at in _time_ends(first, last)]
    parts += [_tick(LEFT + 14, y(value) + 4, text(value), "end") for value in (low, high)]
    parts += [_level(line, y(min(max(line.value, low), high))) for line in thresholds]
    for number, one in enumerate(series[:4], 1):
        parts += [_path(run, x, y, number) for run in _runs(one.points)]
        parts.append(_legend(one.name, number))
    return _svg(parts, height, title, desc)


def bars(
    rows: Sequence[Bar], *, title: str, desc: str, limits: tuple[float, float] = (0, 1), text: Text = plain
) -> Markup:
    """Horizontal bars with their intervals; None is a row without a bar."""
    step, label_width = 22, 150
    height = step * len(rows) + 20
    x = _scale(*limits, label_width, WIDTH - 90)
    parts: list[Markup] = []
    for number, row in enumerate(rows):
        middle = step * number + step / 2 + 4
        parts.append(_tick(label_width - 8, middle + 4, row.label, "end"))
        if row.value is not None:
            parts.append(
                Markup('<rect class="chart-bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="12"/>').format(
                    x(limits[0]), middle - 6, max(_inside(x, row.value, *limits) - x(limits[0]), 1)
                )
            )
        if row.low is not None and row.high is not None:
            parts.append(_interval(_inside(x, row.low, *limits), _inside(x, row.high, *limits), middle))
        said = "–" if row.value is None else text(row.value)
        parts.append(_tick(WIDTH - 84, middle + 4, f"{said} {row.note}".strip(), "start"))
    parts += [_tick(x(value), height - 4, text(value), at) for value, at in zip(limits, ("start", "end"), strict=True)]
    return _svg(parts, height, title, desc)


def _svg(parts: Iterable[Markup], height: float, title: str, desc: str) -> Markup:
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    ).format(WIDTH, height, WIDTH, height, title, desc, Markup().join(parts))


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _inside(x: Scale, value: float, low: float, high: float) -> float:
    return x(min(max(value, low), high))


def _span(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, [0.01, 0.99])
    return _padded(float(low), float(high))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - margin, high + margin


def _arrowed(value: float, low: float, high: float, text: Text) -> str:
    return f"◂ {text(value)}" if value < low else f"{text(value)} ▸" if value > high else text(value)


def _anchor(x: float) -> str:
    return "start" if x < 100 else "end" if x > WIDTH - 100 else "middle"


def _columns(tops: Iterable[tuple[float, float]], base: float, width: float) -> Markup:
    """The bars of a histogram, as one path: left edge and top of each."""
    path = "".join(f"M{left + 0.5:.1f} {base:.1f}V{top:.1f}h{width - 1:.1f}V{base:.1f}z" for left, top in tops)
    return Markup('<path class="chart-bar" d="{}"/>').format(path)


def _tick(x: float, y: float, label: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, label)


def _floor(y: float) -> Markup:
    return Markup('<line class="chart-axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
        LEFT, WIDTH - RIGHT, y, y
    )


def _threshold(line: Line, x: float, y: float, base: float) -> Markup:
    return Markup(
        '<g class="chart-threshold {}"><line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text></g>'
    ).format(line.style, x, x, y + 3, base, x, y - 1, _anchor(x), line.label)


def _level(line: Line, y: float) -> Markup:
    return Markup(
        '<g class="chart-threshold {}"><line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text x="{}" y="{:.1f}" text-anchor="end">{}</text></g>'
    ).format(line.style, LEFT + 20, WIDTH - RIGHT, y, y, WIDTH - RIGHT, y - 3, line.label)


def _marker(x: float, y: float, base: float, label: str) -> Markup:
    return Markup(
        '<g class="chart-marker"><line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
        '<path d="M{:.1f} {:.1f} l-5 8 h10 z"/><text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text></g>'
    ).format(x, x, y + 2, base, x, base, x, y - 1, _anchor(x), label)


def _interval(low: float, high: float, y: float) -> Markup:
    return Markup('<path class="chart-interval" d="M{:.1f} {:.1f} v8 m0 -4 H{:.1f} m0 -4 v8"/>').format(
        low, y - 4, high
    )


def _runs(points: Sequence[tuple[datetime, float | None]]) -> Iterable[list[tuple[float, float]]]:
    """Stretches without a gap."""
    run: list[tuple[float, float]] = []
    for moment, value in points:
        if value is not None:
            run.append((moment.timestamp(), value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(run: Sequence[tuple[float, float]], x: Scale, y: Scale, number: int) -> Markup:
    if len(run) == 1:
        [(time, value)] = run
        return Markup('<circle class="chart-series-{} dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(
            number, x(time), y(value)
        )
    points = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in run)
    return Markup('<polyline class="chart-series-{}" points="{}"/>').format(number, points)


def _legend(name: str, number: int) -> Markup:
    x = LEFT + 20 + (number - 1) * 130
    return Markup('<line class="chart-series-{}" x1="{}" x2="{}" y1="8" y2="8"/><text x="{}" y="12">{}</text>').format(
        number, x, x + 16, x + 21, name
    )


def _time_ends(first: datetime, last: datetime) -> list[tuple[datetime, str]]:
    return [(first, "start"), (last, "end")] if last > first else [(first, "start")]


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
