"""The report of a run as a page that opens offline: the best-filled frame, curves over time, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import Any

from vasomim.types import BoolImage, FloatImage
from vasomim.viz.charts import line_chart
from vasomim.viz.images import overlay
from vasomim.viz.pages import Cell, html_charts, html_figure, html_gallery, html_page, html_table

SIDE = 340
"""Longest side of a picture in the page, in pixels."""


def render_report(report: Mapping[str, Any], image: FloatImage, mask: BoolImage, film: str | None = None) -> str:
    """The whole page.

    Args:
        report: from `run_report`.
        image: (H, W) the best-filled frame.
        mask: (H, W) its vessels.
        film: name of an animated picture that lies beside the page.
    """
    caption = f"Frame {report['best_frame']}, the best filled"
    pictures = [html_figure(image, caption, SIDE), html_figure(overlay(image, mask), "Vessels found in it", SIDE)]
    if film:
        pictures.append(_film(film))
    sections = [("Pictures", html_gallery(pictures))]
    if len(report["frames"]) > 1:
        sections.append(("Over time", _curves(report)))
    sections += [
        ("Best-filled frame", _numbers(report) + _profile(report)),
        ("Run", _run(report)),
    ]
    if report["warnings"]:
        sections.append(("Warnings", "".join(f"<p>{escape(line)}</p>" for line in report["warnings"])))
    return html_page(
        f"Vessels in {report['run']}",
        sections,
        footer=f"vasomim {report['version']}. {report['notice']}",
        lead=f"{report['notice']} Vessels were found automatically and nobody has checked them.",
    )


def _film(name: str) -> str:
    source = escape(name, quote=True)
    picture = f'<img src="{source}" alt="overlay of the run" style="width:{SIDE}px">'
    return f"<figure>{picture}<figcaption>The run</figcaption></figure>"


def _curves(report: Mapping[str, Any]) -> str:
    frames = report["frames"]
    timed = all(frame["time_ms"] is not None for frame in frames)
    xs = [frame["time_ms"] / 1000 if timed else frame["frame"] for frame in frames]
    label = "time (s)" if timed else "frame"
    areas = list(zip(xs, [100 * frame["vessel_share"] for frame in frames], strict=True))
    lengths = list(zip(xs, [frame["centreline_length_px"] for frame in frames], strict=True))
    return html_charts(
        [
            line_chart({"vessel area": areas}, "Vessel area", label, "% of the frame"),
            line_chart({"length": lengths}, "Centreline length", label, "px"),
        ]
    )


def _numbers(report: Mapping[str, Any]) -> str:
    best, spacing = report["summary"]["best"], report["spacing"]
    widths, widths_mm = best["width_px"] or {}, best.get("width_mm") or {}
    rows: list[list[Cell]] = [
        ["vessel area", best["vessel_area_px"], best.get("vessel_area_mm2")],
        ["centreline length", best["centreline_length_px"], best.get("centreline_length_mm")],
        ["median width", widths.get("p50"), widths_mm.get("p50")],
        ["width, 5th percentile", widths.get("p05"), widths_mm.get("p05")],
        ["width, 95th percentile", widths.get("p95"), widths_mm.get("p95")],
        ["branch points", best["branch_points"], None],
        ["end points", best["end_points"], None],
        ["pieces", best["components"], None],
    ]
    if spacing is None:
        note = "No pixel spacing is known: numbers are in pixels."
        return html_table([row[:2] for row in rows], ["", "pixels"], note)
    return html_table(rows, ["", "pixels", "mm or mm², nominal"], spacing["note"])


def _profile(report: Mapping[str, Any]) -> str:
    edges = report["width_profile_edges_px"]
    classes = [f"{low} to {high}" for low, high in pairwise(edges)] + [f"{edges[-1]} and more"]
    lengths = report["summary"]["best"]["width_profile_px"]
    rows = [[name, length] for name, length in zip(classes, lengths, strict=True) if length]
    return html_table(rows, ["width, px", "centreline, px"], "How much centreline is how wide") if rows else ""


def _run(report: Mapping[str, Any]) -> str:
    source, summary = report["source"], report["summary"]
    rows: list[list[Cell]] = [
        ["frames", source["num_frames"]],
        ["size, px", f"{source['columns']} x {source['rows']}"],
        ["angles, degrees", _angles(source)],
        ["mean vessel share of all frames, %", 100 * summary["mean_vessel_share"]],
        ["flicker", summary["flicker"]],
        ["weights", f"{report['weights']['name']}, {report['weights']['hash']}"],
        ["settings", ", ".join(f"{name} {value}" for name, value in report["settings"].items())],
    ]
    return html_table(rows)


def _angles(source: Mapping[str, Any]) -> str | None:
    primary, secondary = source["primary_angle"], source["secondary_angle"]
    return None if primary is None or secondary is None else f"{primary:g} / {secondary:g}"
