"""Line charts: round ticks that cover the range, valid SVG whatever the numbers."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.viz.axes import linear_ticks, log_ticks, tick_labels
from vasomim.viz.charts import line_chart


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_linear_ticks__are_inside_even_and_few(low: float, span: float) -> None:
    span = max(span, 1e-6 * abs(low))
    high = low + span
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    slack = 1e-6 * span
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-4, abs=1e-9)


@given(st.floats(1e-9, 1e6), st.floats(1.3, 1e9))
def test_log_ticks__are_inside_and_few(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert 1 <= len(ticks) <= 10
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ((0.0, 0.25, 0.5), ("0", "0.25", "0.5")),
        ((0.0, 500.0, 1000.0), ("0", "500", "1000")),
        ((0.0, 20000.0, 40000.0), ("0", "20k", "40k")),
        ((1.5e6, 2e6), ("1.5M", "2M")),
        ((0.0, 2e-4, 4e-4), ("0", "2e-4", "4e-4")),
        ((1e-4, 1.0, 1e4), ("1e-4", "1", "10k")),
    ],
)
def test_tick_labels__are_short(ticks: tuple[float, ...], labels: tuple[str, ...]) -> None:
    assert tick_labels(ticks) == labels


def test_line_chart__labels_tell_ticks_apart_and_noise_is_not_magnified() -> None:
    narrow = texts(line_chart({"a": [(0, 1366.5), (1, 1372.1)]}, "t"))
    assert len(set(narrow)) == len(narrow)
    flat = line_chart({"a": [(0, 1366.595), (1, 1366.606)]}, "t")
    heights = [float(pair.split(",")[1]) for pair in flat.split('polyline points="')[1].split('"')[0].split()]
    assert abs(heights[0] - heights[1]) < 1


def test_line_chart__names_title_axes_and_series() -> None:
    svg = line_chart({"train": [(0, 1.0), (10, 0.5)], "val <b>": [(5, 0.7)]}, "Loss & more", "step", "value")
    assert {"Loss & more", "step", "value", "train", "val <b>"} <= set(texts(svg))
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 1


def test_line_chart__one_series_needs_no_legend() -> None:
    assert "loss" not in texts(line_chart({"loss": [(0, 1.0), (1, 2.0)]}, "Title"))


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0.0, math.nan)],
        [(0.0, 0.0), (1.0, 0.0)],
        [(3.0, 7.0)],
        [(0.0, 1e-30), (1.0, 1e30)],
        [(0.0, -1.0), (1.0, 1.0)],
        [(0.0, 5.0), (1.0, math.inf), (2.0, 5.0)],
        [(1e9, 0.1), (1e9 + 1, 0.2)],
    ],
)
def test_line_chart__survives_any_numbers(points: list[tuple[float, float]], log_y: bool) -> None:
    svg = line_chart({"a": points}, "t", log_y=log_y)
    ET.fromstring(svg)
    coordinates = [float(v) for v in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]+)"', svg)]
    assert coordinates
    assert all(-1 <= value <= 700 for value in coordinates)


def test_line_chart__breaks_the_line_at_missing_values() -> None:
    svg = line_chart({"a": [(0, 1), (1, 2), (2, math.nan), (3, 1), (4, 2)]}, "t")
    assert svg.count("<polyline") == 2


def test_line_chart__thins_long_series_but_keeps_the_spike() -> None:
    points = [(float(k), 1.0) for k in range(20_000)]
    points[12_345] = (12_345.0, 50.0)
    svg = line_chart({"a": points}, "t")
    assert len(svg) < 40_000
    assert "50" in texts(svg) or "40" in texts(svg)
    line = re.search(r'<polyline points="([^"]+)"', svg)
    assert line is not None
    heights = [float(pair.split(",")[1]) for pair in line.group(1).split()]
    assert min(heights) < max(heights) - 100


def test_line_chart__long_legends_wrap_within_the_width() -> None:
    svg = line_chart({f"method number {k} with a name": [(0, k), (1, k)] for k in range(9)}, "t")
    for element in ET.fromstring(svg).iter("text"):
        if "method" in (element.text or ""):
            assert float(element.get("x", "0")) + 6 * len(element.text or "") < 640


def test_line_chart__powers_are_straight_lines_on_logarithmic_axes() -> None:
    svg = line_chart({"square": [(0, 5), *((10.0**k, 10.0 ** (2 * k)) for k in range(4))]}, "t", log_x=True, log_y=True)
    line = re.search(r'<polyline points="([^"]+)"', svg)
    assert line is not None
    x, y = zip(*(map(float, point.split(",")) for point in line.group(1).split()), strict=True)
    assert len(x) == 4  # 0 has no place there
    assert {round(b - a, 0) for a, b in itertools.pairwise(x)} == {round((x[-1] - x[0]) / 3, 0)}
    assert {round(b - a, 0) for a, b in itertools.pairwise(y)} == {round((y[-1] - y[0]) / 3, 0)}
    assert {"1", "10", "100", "1000"} <= set(texts(svg))
