"""Line charts as inline SVG: no script, no outside file, readable on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vasomim.viz.axes import (
    HEIGHT,
    WIDTH,
    Axis,
    frame,
    legend,
    limits,
    linear_ticks,
    log_ticks,
    style,
    svg,
    text,
    tick_labels,
)

Points = Sequence[tuple[float, float]]

_MAX_POINTS = 600


def line_chart(
    series: Mapping[str, Points],
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    log_x: bool = False,
) -> str:
    """Named series of (x, y) as an `<svg>`, 640 px wide, with axes, ticks and a legend.

    Points that are not finite (and, on a logarithmic axis, not positive) break their line. A series of one point is a
    dot. Long series are thinned to the extremes of short stretches, so that spikes stay visible.
    """
    drawn = {name: _segments(points, log_y, log_x) for name, points in series.items()}
    points = [point for segments in drawn.values() for segment in segments for point in segment]
    entries, entries_height = legend(list(series))
    top = 34 + entries_height
    height = HEIGHT + entries_height
    if not points:
        body = text(WIDTH / 2, height / 2, "no values yet", "middle")
        return svg(title, height, entries + body)
    y_low, y_high = limits([y for _, y in points], log_y, least=1e-3)
    y_ticks = log_ticks(y_low, y_high) if log_y else linear_ticks(y_low, y_high)
    y_names = tick_labels(y_ticks)
    left = 10 + 8 * max(map(len, y_names)) + (16 if y_label else 0)
    x_low, x_high = limits([x for x, _ in points], log_x, margin=0.0, least=1e-6)
    x_ticks = log_ticks(x_low, x_high) if log_x else linear_ticks(x_low, x_high, 6)
    bottom = height - (48 if x_label else 28)
    x_axis = Axis(x_low, x_high, left, WIDTH - 18, x_ticks, tick_labels(x_ticks), log_x)
    y_axis = Axis(y_low, y_high, bottom, top, y_ticks, y_names, log_y)
    lines = [_series(segments, k, x_axis, y_axis) for k, segments in enumerate(drawn.values())]
    return svg(title, height, entries + frame(x_axis, y_axis, x_label, y_label) + "".join(lines))


def _segments(points: Points, log_y: bool, log_x: bool = False) -> list[list[tuple[float, float]]]:
    """The series cut where it cannot be drawn, and thinned."""
    segments: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log_y) and (x > 0 or not log_x):
            segments[-1].append((float(x), float(y)))
        elif segments[-1]:
            segments.append([])
    return [_thin(segment) for segment in segments if segment]


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= _MAX_POINTS:
        return points
    stride = math.ceil(len(points) / (_MAX_POINTS / 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), stride):
        stretch = points[start : start + stride]
        extremes = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(extremes)
    return kept


def _series(segments: list[list[tuple[float, float]]], k: int, x_axis: Axis, y_axis: Axis) -> str:
    color, dash = style(k)
    parts = []
    for segment in segments:
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in segment]
        if len(places) == 1:
            parts.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3.5" fill="{color}"/>')
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8" '
            f'stroke-linejoin="round" stroke-linecap="round"{dash}/>'
        )
    return "".join(parts)
