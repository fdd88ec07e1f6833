"""Pictures of numbers: well-formed, safe, and where they should be."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from workers.web.desk.charts import LEFT, RIGHT, WIDTH, Bar, Line, Series, bars, histogram, lines, plain

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = {"title": "A title", "desc": "In words"}


def drawn(markup):
    """The SVG, parsed: anything not well-formed fails here."""
    return ET.fromstring(str(markup))  # noqa: S314  our own


def over_time(*values):
    return [(START + timedelta(hours=hour), value) for hour, value in enumerate(values)]


def marker_x(svg):
    [marker] = [group for group in svg.iter("g") if group.get("class") == "chart-marker"]
    return float(marker.find("line").get("x1")), marker.find("text").text


def heights(svg):
    """Of a histogram's bars, px."""
    [path] = [path for path in svg.iter("path") if path.get("class") == "chart-bar"]
    return [float(base) - float(top) for base, top in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path.get("d"))]


PICTURES = {
    "histogram": lambda label: histogram([1, 2, 3], marker=2, lines=[Line(1, label)], title=label, desc=label),
    "lines": lambda label: lines(
        [Series(label, over_time(1, None, 2, 3))], thresholds=[Line(2, label)], title=label, desc=label
    ),
    "no lines": lambda label: lines([Series(label, over_time(None))], title=label, desc=label),
    "bars": lambda label: bars([Bar(label, 0.5, 0.4, 0.6, label), Bar(label, None)], title=label, desc=label),
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_a_picture_is_said_in_words_and_takes_nothing_for_markup(picture):
    hostile = '"><script>alert(1)</script>'
    svg = drawn(picture(hostile))
    assert (svg.get("role"), svg.find("title").text, svg.find("desc").text) == ("img", hostile, hostile)
    assert not list(svg.iter("script"))
    assert all("style" not in element.attrib for element in svg.iter())  # the pages' policy forbids it


@pytest.mark.parametrize(
    ("marker", "x", "label"),
    [
        (50, (LEFT + WIDTH - RIGHT) / 2, "50"),  # among the values
        (-9000, LEFT, "◂ -9,000"),  # far below: at the end of the axis, and it says so
        (9000, WIDTH - RIGHT, "9,000 ▸"),
    ],
)
def test_a_marker_stands_where_its_value_is(marker, x, label):
    at, said = marker_x(drawn(histogram(np.arange(101), marker=marker, limits=(0, 100), **WORDS)))
    assert (at, said) == (pytest.approx(x), label)


def test_one_far_value_does_not_squeeze_the_others():
    svg = drawn(histogram([*np.linspace(0, 1, 200), -1e6], **WORDS))
    assert len(heights(svg)) > 30


def test_bars_of_a_histogram_hold_every_value():
    svg = drawn(histogram([0] * 30 + [1] * 10, bins=2, limits=(0, 1), **WORDS))
    tall, short = heights(svg)
    assert tall == pytest.approx(3 * short, abs=0.2)


def test_a_line_has_a_gap_where_nothing_was_measured():
    svg = drawn(lines([Series("share", over_time(1, 2, None, 3, 4))], **WORDS))
    assert [len(line.get("points").split()) for line in svg.iter("polyline")] == [2, 2]


def test_an_interval_spans_its_ends():
    svg = drawn(bars([Bar("a", 0.5, 0.25, 0.75)], **WORDS))
    [path] = [path for path in svg.iter("path") if path.get("class") == "chart-interval"]
    [rect] = list(svg.iter("rect"))
    start, end = float(path.get("d").split()[0][1:]), float(path.get("d").split("H")[1].split()[0])
    left, width = float(rect.get("x")), float(rect.get("width"))
    assert start < left + width < end
    assert end - start == pytest.approx(width)


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0]])
def test_few_or_equal_values_are_no_trouble(values):
    svg = drawn(histogram(values, marker=5.0, **WORDS))
    assert "nan" not in "".join(text for part in svg.iter() for text in part.attrib.values())


@pytest.mark.parametrize(("value", "said"), [(1234.5, "1,234"), (12.34, "12.3"), (0.01234, "0.0123"), (0, "0")])
def test_numbers_are_short(value, said):
    assert plain(value) == said
