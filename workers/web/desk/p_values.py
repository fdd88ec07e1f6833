"""The picture of the thresholds page: how many verdicts had which p-value, and where thresholds would cut."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.records import SurfacePolicy
from pipeline.thresholds import BINS, ScoreCount, histogram
from workers.web.desk.shell import percent

WIDTH, HEIGHT, LEFT, TOP, FLOOR = 720, 200, 44, 26, 176
"""px of the drawing; where the plot begins and ends."""

BARS = 60
NARROW = 300
"""Tenths of a percent that are drawn, unless a threshold lies beyond: photographs are flagged far to the left."""


def p_value_chart(counts: Sequence[ScoreCount], policy: SurfacePolicy) -> Markup:
    """Bars in the colour of the verdict that `policy` gives, and the level that photographs alone would have."""
    up_to = NARROW if policy.unsure_fpr * BINS < NARROW else BINS - BINS % BARS
    width = up_to // BARS
    bars, beyond = histogram(counts, up_to=up_to, width=width)
    total = sum(bars) + beyond
    level = total * width / BINS
    top = max(*bars, level, 1)
    parts = [_bar(number, bar / top, _kind((number + 1) * width / BINS, policy)) for number, bar in enumerate(bars)]
    parts.append(_level(level / top))
    parts += [
        _threshold(policy.not_camera_fpr * BINS / up_to, "bad", f"not camera ≤ {percent(policy.not_camera_fpr)}", 10),
        _threshold(policy.unsure_fpr * BINS / up_to, "warn", f"unsure ≤ {percent(policy.unsure_fpr)}", 22),
    ]
    parts += [_text(LEFT, "0 %", "start"), _text(WIDTH - 8, f"p-value {percent(up_to / BINS, 0)}", "end")]
    desc = (
        f"{total:,} scored images; {beyond:,} of them have a p-value above {percent(up_to / BINS, 0)}. Were all of "
        f"them photographs like the calibration ones, each of the {BARS} bars would hold about {level:,.0f}."
    )
    return Markup(
        '<svg class="p-values" role="img" viewBox="0 0 {} {}"><title>Images by p-value</title><desc>{}</desc>{}</svg>'
        '<p class="faint">{}</p>'
    ).format(WIDTH, HEIGHT, desc, Markup().join(parts), desc)


def _kind(p_value: float, policy: SurfacePolicy) -> str:
    return "bad" if p_value <= policy.not_camera_fpr else "warn" if p_value <= policy.unsure_fpr else "good"


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - 8 - LEFT)


def _y(share: float) -> float:
    return FLOOR - share * (FLOOR - TOP)


def _bar(number: int, share: float, style: str) -> Markup:
    left, right = _x(number / BARS), _x((number + 1) / BARS)
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        style, left + 0.5, _y(share), right - left - 1, FLOOR - _y(share)
    )


def _level(share: float) -> Markup:
    y = _y(share)
    return Markup(
        '<line class="level" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/><text x="{}" y="{:.1f}" text-anchor="end">'
        "photographs alone</text>"
    ).format(LEFT, WIDTH - 8, y, y, WIDTH - 8, max(y - 4, TOP + 8))


def _threshold(share: float, style: str, label: str, y: float) -> Markup:
    x = _x(min(share, 1.0))
    leans = ("end", x - 4) if share > 0.7 else ("start", x + 4)
    return Markup(
        '<line class="cut {}" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
        '<text class="{}" x="{:.1f}" y="{}" text-anchor="{}">{}</text>'
    ).format(style, x, x, y - 8, FLOOR, style, leans[1], y, leans[0], label)


def _text(x: float, said: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 6, anchor, said)
