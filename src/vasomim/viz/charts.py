"""Line charts as inline SVG: no script, no outside file, readable on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]

COLORS = ("#3b82c4", "#e0690f", "#0a9e75", "#c2679b", "#c79a12", "#7d858f")
_DASHES = ("", "6 3", "2 3")
_WIDTH, _HEIGHT = 640, 300
_CHAR = 7.2  # generous mean width of a character at 13 px, in px
_MAX_POINTS = 600


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: where data values fall on the page, and which of them are labelled."""

    low: float
    high: float
    start: float
    """Page coordinate of `low` in px."""
    end: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Page coordinate of a data value in px."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


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
    legend, legend_height = _legend(list(series))
    top = 34 + legend_height
    height = _HEIGHT + legend_height
    if not points:
        body = _text(_WIDTH / 2, height / 2, "no values yet", "middle")
        return _svg(title, height, legend + body)
    y_low, y_high = _range([y for _, y in points], log_y, least=1e-3)
    y_ticks = log_ticks(y_low, y_high) if log_y else linear_ticks(y_low, y_high)
    y_names = tick_labels(y_ticks)
    left = 10 + 8 * max(map(len, y_names)) + (16 if y_label else 0)
    x_low, x_high = _range([x for x, _ in points], log_x, margin=0.0, least=1e-6)
    x_ticks = log_ticks(x_low, x_high) if log_x else linear_ticks(x_low, x_high, 6)
    bottom = height - (48 if x_label else 28)
    x_axis = Axis(x_low, x_high, left, _WIDTH - 18, x_ticks, tick_labels(x_ticks), log_x)
    y_axis = Axis(y_low, y_high, bottom, top, y_ticks, y_names, log_y)
    lines = [_series(segments, k, x_axis, y_axis) for k, segments in enumerate(drawn.values())]
    return _svg(title, height, legend + _frame(x_axis, y_axis, x_label, y_label) + "".join(lines))


def linear_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """About `count` round values (1, 2, 2.5 or 5 times a power of ten apart) within [low, high]."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(k * step, 12 - math.floor(math.log10(step))) + 0.0 for k in range(first, last + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten within [low, high], with 2 and 5 between them where the range is short."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / 6))
    decades = range(first, last + 1, stride)
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = tuple(f * 10.0**k for k in decades for f in factors if low <= f * 10.0**k <= high)
    return ticks if len(ticks) >= 2 else linear_ticks(low, high)


def tick_labels(ticks: Sequence[float]) -> tuple[str, ...]:
    """The shortest texts that tell the ticks apart: 0.25, 1000, 20k, 1e-5. Neighbours share a unit."""
    sizes = [abs(tick) for tick in ticks if tick]
    shared = max(sizes, default=1.0)
    wide = shared / min(sizes, default=1.0) >= 1000
    return tuple(_label(tick, abs(tick) if wide else shared) for tick in ticks)


def _label(value: float, size: float) -> str:
    """A number written in the unit that suits numbers as large as `size`."""
    if value == 0:
        return "0"
    if size >= 1e9 or size < 1e-3:
        mantissa, exponent = f"{value:.4e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    unit, suffix = (1e6, "M") if size >= 1e6 else (1e3, "k") if size >= 1e4 else (1.0, "")
    return f"{value / unit:.10g}{suffix}"


def _range(values: list[float], log: bool, margin: float = 0.04, *, least: float) -> tuple[float, float]:
    """Limits a little wider than the values; never empty, and not so narrow that noise looks like a trend.

    Args:
        values: what has to fit.
        log: for a logarithmic axis.
        margin: share of the range added on both sides.
        least: smallest range, relative to the values.
    """
    low, high = min(values), max(values)
    if log:
        return (low / 1.15, high * 1.15) if high > low else (low / 2, high * 2)
    if high - low <= least * max(abs(low), abs(high)):
        pad = max(abs(low), abs(high)) * 0.1 or 0.5
        return low - pad, high + pad
    return low - margin * (high - low), high + margin * (high - low)


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
    color, dash = _style(k)
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


def _style(k: int) -> tuple[str, str]:
    dash = _DASHES[(k // len(COLORS)) % len(_DASHES)]
    return COLORS[k % len(COLORS)], f' stroke-dasharray="{dash}"' if dash else ""


def _legend(names: list[str]) -> tuple[str, float]:
    """Legend entries wrapped into lines below the title, and the height they take in px."""
    if len(names) < 2:
        return "", 0.0
    parts, x, y = [], 0.0, 42.0
    for k, name in enumerate(names):
        shown = name if len(name) <= 60 else name[:59] + "…"
        width = 26 + _CHAR * len(shown) + 16
        if x > 0 and x + width > _WIDTH:
            x, y = 0.0, y + 19
        color, dash = _style(k)
        parts.append(
            f'<line x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="3"{dash}/>'
        )
        parts.append(_text(x + 24, y, shown))
        x += width
    return "".join(parts), y - 42 + 23


def _frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    """Grid, tick labels and axis titles."""
    left, right, bottom, top = x_axis.start, x_axis.end, y_axis.start, y_axis.end
    parts = []
    for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True):
        y = y_axis.place(tick)
        parts.append(_line(left, right, y, y, 0.13) + _text(left - 7, y + 4, label, "end"))
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        x = x_axis.place(tick)
        anchor = "end" if x + _CHAR * len(label) / 2 > _WIDTH - 2 else "middle"
        parts.append(_line(x, x, bottom, bottom + 4, 0.6) + _text(x, bottom + 18, label, anchor))
    parts.append(_line(left, right, bottom, bottom, 0.6))
    if x_label:
        parts.append(_text((left + right) / 2, bottom + 38, x_label, "middle"))
    if y_label:
        middle = (top + bottom) / 2
        parts.append(f'<g transform="rotate(-90 10 {middle:.1f})">{_text(10, middle + 4, y_label, "middle")}</g>')
    return "".join(parts)


def _line(x1: float, x2: float, y1: float, y2: float, opacity: float) -> str:
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-opacity="{opacity}" stroke-width="1"/>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, height: float, body: str) -> str:
    name = escape(title)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{name}" font-family="system-ui, sans-serif" font-size="13" fill="currentColor">'
        f'<text x="0" y="18" font-size="15" font-weight="600">{name}</text>{body}</svg>'
    )
