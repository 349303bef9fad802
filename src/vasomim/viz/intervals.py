"""Charts of means with their intervals: curves over a logarithmic axis, and differences in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vasomim.viz.axes import CHAR, WIDTH, Axis, frame, legend, limits, line, linear_ticks, style, svg, text, tick_labels

PLOT_HEIGHT, ROW, DODGE = 320, 22, 4.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the ends of its interval, at a place on the x axis."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a chart of differences."""

    label: str
    mean: float
    low: float
    high: float
    solid: bool
    """A filled dot; hollow ones are differences that do not hold."""


def curve_chart(
    series: Mapping[str, Sequence[Estimate]],
    title: str,
    x_label: str,
    x_ticks: Mapping[float, str],
    *,
    file: bool = False,
) -> str:
    """A curve with intervals for each series, over a logarithmic x axis with ticks at `x_ticks` (value -> text).

    Series stand a few pixels apart, so that intervals at one place do not cover each other.
    """
    entries, taken = legend(list(series))
    top, height = 34 + taken, PLOT_HEIGHT + taken
    estimates = [one for curve in series.values() for one in curve]
    if not estimates:
        return svg(title, height, entries + text(WIDTH / 2, height / 2, "no values yet", "middle"), file=file)
    low, high = limits([end for one in estimates for end in (one.low, one.high)], False, least=1e-3)
    ticks = linear_ticks(low, high)
    names = tick_labels(ticks)
    y_axis = Axis(low, high, height - 48, top, ticks, names)
    left, right = limits(list(x_ticks), True, least=1e-3)
    start = 26 + 8 * max(map(len, names))
    x_axis = Axis(left, right, start, WIDTH - 18, tuple(x_ticks), tuple(x_ticks.values()), log=True)
    drawn = [
        _curve(curve, k, (k - (len(series) - 1) / 2) * DODGE, x_axis, y_axis) for k, curve in enumerate(series.values())
    ]
    return svg(title, height, entries + frame(x_axis, y_axis, x_label, "") + "".join(drawn), file=file)


def _curve(curve: Sequence[Estimate], k: int, shift: float, x_axis: Axis, y_axis: Axis) -> str:
    color, dash = style(k)
    places = [(x_axis.place(one.x) + shift, one) for one in sorted(curve, key=lambda one: one.x)]
    path = " ".join(f"{x:.1f},{y_axis.place(one.mean):.1f}" for x, one in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"{dash}/>']
    for x, one in places:
        ends = f'y1="{y_axis.place(one.low):.1f}" y2="{y_axis.place(one.high):.1f}"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{color}" stroke-width="1.2"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y_axis.place(one.mean):.1f}" r="3.2" fill="{color}"/>')
    return "".join(parts)


def difference_chart(bars: Sequence[Bar], title: str, x_label: str, *, file: bool = False) -> str:
    """Differences with intervals, one a row from top to bottom, around a line at 0."""
    top, height = 34, 34 + ROW * len(bars) + 52
    if not bars:
        return svg(title, height + ROW, text(WIDTH / 2, 60, "no values yet", "middle"), file=file)
    low, high = limits([0.0, *(end for one in bars for end in (one.low, one.high))], False, least=1e-3)
    left = min(CHAR * max(len(one.label) for one in bars) + 14, WIDTH * 0.55)
    ticks = linear_ticks(low, high)
    x_axis = Axis(low, high, left, WIDTH - 18, ticks, tick_labels(ticks))
    y_axis = Axis(0, len(bars), height - 48, top, (), ())
    zero = x_axis.place(0)
    rows = [_bar(one, top + ROW * (k + 0.5), left, x_axis) for k, one in enumerate(bars)]
    body = frame(x_axis, y_axis, x_label, "") + line(zero, zero, top, height - 48, 0.6) + "".join(rows)
    return svg(title, height, body, file=file)


def _bar(one: Bar, y: float, left: float, x_axis: Axis) -> str:
    color = style(0 if one.mean >= 0 else 1)[0]
    fill = color if one.solid else "none"
    low, mean, high = (x_axis.place(value) for value in (one.low, one.mean, one.high))
    dots = f'<circle cx="{mean:.1f}" cy="{y:.1f}" r="3.8" fill="{fill}" stroke="{color}" stroke-width="1.6"/>'
    ends = f'x1="{low:.1f}" x2="{max(mean - 3.8, low):.1f}"', f'x1="{min(mean + 3.8, high):.1f}" x2="{high:.1f}"'
    strokes = [f'<line {x} y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" stroke-width="1.6"/>' for x in ends]
    return text(left - 10, y + 4, one.label, "end", left - 12) + "".join(strokes) + dots
