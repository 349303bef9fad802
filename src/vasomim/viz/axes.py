"""What charts are drawn of, as pieces of SVG: axes, ticks, frame, legend, text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLORS = ("#3b82c4", "#e0690f", "#0a9e75", "#c2679b", "#c79a12", "#7d858f")
_DASHES = ("", "6 3", "2 3")
WIDTH, HEIGHT = 640, 300
FILE_GREY = "#757c85"
CHAR = 7.2  # generous mean width of a character at 13 px, in px


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


def limits(values: list[float], log: bool, margin: float = 0.04, *, least: float) -> tuple[float, float]:
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


def style(k: int) -> tuple[str, str]:
    """Colour of the k-th series, and its dashes as an attribute."""
    dash = _DASHES[(k // len(COLORS)) % len(_DASHES)]
    return COLORS[k % len(COLORS)], f' stroke-dasharray="{dash}"' if dash else ""


def legend(names: list[str]) -> tuple[str, float]:
    """Legend entries wrapped into lines below the title, and the height they take in px."""
    if len(names) < 2:
        return "", 0.0
    parts, x, y = [], 0.0, 42.0
    for k, name in enumerate(names):
        shown = name if len(name) <= 60 else name[:59] + "…"
        width = 26 + CHAR * len(shown) + 16
        if x > 0 and x + width > WIDTH:
            x, y = 0.0, y + 19
        color, dash = style(k)
        parts.append(
            f'<line x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}" stroke="{color}" stroke-width="3"{dash}/>'
        )
        parts.append(text(x + 24, y, shown))
        x += width
    return "".join(parts), y - 42 + 23


def frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    """Grid, tick labels and axis titles."""
    left, right, bottom, top = x_axis.start, x_axis.end, y_axis.start, y_axis.end
    parts = []
    for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True):
        y = y_axis.place(tick)
        parts.append(line(left, right, y, y, 0.13) + text(left - 7, y + 4, label, "end"))
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        x = x_axis.place(tick)
        anchor = "end" if x + CHAR * len(label) / 2 > WIDTH - 2 else "middle"
        parts.append(line(x, x, bottom, bottom + 4, 0.6) + text(x, bottom + 18, label, anchor))
    parts.append(line(left, right, bottom, bottom, 0.6))
    if x_label:
        parts.append(text((left + right) / 2, bottom + 38, x_label, "middle"))
    if y_label:
        middle = (top + bottom) / 2
        parts.append(f'<g transform="rotate(-90 10 {middle:.1f})">{text(10, middle + 4, y_label, "middle")}</g>')
    return "".join(parts)


def line(x1: float, x2: float, y1: float, y2: float, opacity: float) -> str:
    """A straight line in the colour of the text."""
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-opacity="{opacity}" stroke-width="1"/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", room: float = WIDTH) -> str:
    """Text at a place; letters are squeezed where it may need more than `room` px."""
    squeezed = f' textLength="{room:.0f}" lengthAdjust="spacingAndGlyphs"' if CHAR * len(words) > room else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{squeezed}>{escape(words)}</text>'


def svg(title: str, height: float, body: str, *, file: bool = False) -> str:
    """The whole chart, WIDTH px wide, to stand in a page and take its colour; or in a `file` of its own.

    A file does not know what it lies on: its grey has a contrast of about 4:1 on white and on the dark of pages alike.
    """
    name = escape(title)
    color = f'{FILE_GREY}" xmlns="http://www.w3.org/2000/svg' if file else "currentColor"
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{name}" font-family="system-ui, sans-serif" font-size="13" color="{color}" fill="currentColor">'
        f'<text x="0" y="18" font-size="15" font-weight="600">{name}</text>{body}</svg>'
    )
