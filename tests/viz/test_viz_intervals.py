"""Means with intervals: each at its place, in a file that is well-formed and knows its colour."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

from vasomim.viz.intervals import Bar, Estimate, curve_chart, difference_chart

TICKS = {0.01: "1 %", 0.1: "10 %", 1.0: "100 %"}


def numbers(chart: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, chart)]


def test_curve_chart__places_means_and_ends() -> None:
    curve = [Estimate(x, x, x - 0.005, x + 0.005) for x in TICKS]
    chart = curve_chart({"one": curve}, "A & B", "labels", TICKS, file=True)
    ET.fromstring(chart)
    xs, ys = numbers(chart, r'cx="([\d.]+)"'), numbers(chart, r'cy="([\d.]+)"')
    assert math.isclose(xs[1] - xs[0], xs[2] - xs[1], abs_tol=0.2), "shares of labels stand a factor apart"
    assert ys[0] > ys[1] > ys[2], "more is higher"
    lows = numbers(chart, r'y1="([\d.]+)" y2="[\d.]+" stroke="#')
    highs = numbers(chart, r'y1="[\d.]+" y2="([\d.]+)" stroke="#')
    assert all(low > y > high for low, y, high in zip(lows, ys, highs, strict=True))
    assert all(f">{name}<" in chart for name in TICKS.values())


def test_curve_chart__series_stand_apart() -> None:
    one = [Estimate(0.1, 0.5, 0.4, 0.6)]
    chart = curve_chart({"a": one, "b": one}, "t", "labels", {0.1: "10 %"})
    assert len(set(numbers(chart, r'cx="([\d.]+)"'))) == 2


def test_difference_chart__rows_around_zero() -> None:
    bars = [Bar("better", 0.02, 0.01, 0.03, True), Bar("worse", -0.02, -0.05, 0.01, False)]
    chart = difference_chart(bars, "t", "Dice", file=True)
    ET.fromstring(chart)
    zero = numbers(chart, r'<line x1="([\d.]+)" x2="\1" y1="34.0"')[0]
    better, worse = numbers(chart, r'cx="([\d.]+)"')
    assert worse < zero < better
    assert 'fill="none" stroke="#' in chart.split("worse")[1]
    assert "better" in chart


def test_difference_chart__long_names_stay_inside() -> None:
    chart = difference_chart([Bar("a" * 90, 0.02, 0.01, 0.03, True), Bar("short", 0.0, -0.1, 0.1, False)], "t", "Dice")
    (right,) = set(numbers(chart, r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end"[^>]*>(?:a+|short)<'))
    (room,) = numbers(chart, r'textLength="(\d+)"')
    assert 0 < room < right


def test_charts__as_files_and_in_pages() -> None:
    for chart in (curve_chart, difference_chart):
        empty = {} if chart is curve_chart else []
        rest = ("x", {0.1: "10 %"}) if chart is curve_chart else ("x",)
        page = chart(empty, "t", *rest)  # type: ignore[operator]
        file = chart(empty, "t", *rest, file=True)  # type: ignore[operator]
        assert 'color="currentColor"' in page
        assert 'xmlns="http://www.w3.org/2000/svg"' in file
        assert "no values yet" in page
        assert "currentColor" not in re.sub(r'(fill|stroke)="currentColor"', "", file)
