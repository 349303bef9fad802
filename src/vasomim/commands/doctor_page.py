"""The audit as a page that opens offline: what to mend first, with pictures of the frames concerned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from vasomim.data.audit.audit import Audit
from vasomim.data.audit.findings import KINDS, Finding
from vasomim.data.audit.look import Job, audited_mask
from vasomim.data.frames import read_record
from vasomim.errors import VasomimError
from vasomim.ops.burnt_text import text_boxes
from vasomim.types import BoolImage, FloatImage
from vasomim.viz.images import RGB, fit_within, overlay, to_rgb
from vasomim.viz.pages import Cell, Html, html_figure, html_gallery, html_page, html_table

SIDE = 172
"""Longest side of a picture, in pixels."""
PICTURES = 9
"""Pictures of a kind; a picture holds up to GROUP frames."""
GROUP = 4
LISTED = 400
"""Files that are listed by name below a kind."""
UNFOLDED = 12
"""Files up to which the list is open from the start."""
COLOURS = {"error": "#d1495b", "warning": "#b97a00", "info": "#5b8fb9"}
BARE = frozenset({"duplicate_annotation_id", "duplicate_image_id", "unknown_image_id", "unknown_category_id"})
"""Kinds that a picture tells nothing about."""
GROUPED = frozenset({"exact_duplicate", "near_duplicate", "similar_frames"})
"""Kinds whose frames are shown side by side."""
MASKED = frozenset(
    {"misaligned_mask", "unrelated_mask", "full_mask", "stray_mask_levels"}
    | {"polygon_out_of_bounds", "self_crossing_polygon"}
)
"""Kinds whose frames are shown under their mask."""


def render_page(audit: Audit) -> str:
    """The whole page; pictures are read from the frames again, a few of each kind."""
    groups: dict[str, list[Finding]] = {}
    for item in audit.findings:
        groups.setdefault(item.kind, []).append(item)
    sections = [("Overview", _overview(groups))] if groups else []
    sections += [(KINDS[kind].title, _kind(items, audit.jobs)) for kind, items in groups.items()]
    sections.append(("The data", _data(audit.summary)))
    counts = [f"{sum(item.severity == name for item in audit.findings)} {name}s" for name in ("error", "warning")]
    lead = (
        f"{audit.summary['frames']} frames, {audit.summary['readable']} of them readable; {', '.join(counts)}. "
        "Files are named relative to the folder that was audited."
    )
    return html_page("Data audit", sections, footer="Research use only, not a medical device.", lead=lead)


def _overview(groups: Mapping[str, Sequence[Finding]]) -> str:
    rows: list[list[Cell]] = []
    for number, (kind, items) in enumerate(groups.items()):
        link = Html(f'<a href="#s{number + 1}">{escape(KINDS[kind].title)}</a>')
        files = len({name for item in items for name in item.files})
        rows.append([_badge(items[0].severity), link, len(items), files, items[0].fix])
    return html_table(rows, ["", "what", "findings", "files", "what to do"])


def _badge(severity: str) -> Html:
    return Html(f'<b style="color:{COLOURS[severity]}">{severity}</b>')


def _kind(items: Sequence[Finding], jobs: Mapping[str, Job]) -> str:
    """One kind of finding: what to do, pictures, and every file by name."""
    figures = [figure for figure in _figures(items, jobs) if figure]
    gallery = html_gallery(figures) if figures else ""
    kind = items[0].kind
    about = f"<p>{_badge(items[0].severity).text} <code>{kind}</code>. {escape(items[0].fix)}</p>"
    return about + gallery + _listing(items)


def _figures(items: Sequence[Finding], jobs: Mapping[str, Job]) -> Iterable[str]:
    """Pictures of the first findings: a group of frames side by side, or frame by frame."""
    if items[0].kind in BARE:
        return
    if items[0].kind in GROUPED:
        groups = [list(item.files[:GROUP]) for item in items[:PICTURES]]
    else:
        groups = [[name] for item in items for name in item.files if name in jobs][:PICTURES]
    for names in groups:
        pictures = [picture for name in names if (picture := _picture(items[0].kind, jobs.get(name))) is not None]
        if pictures:
            yield html_figure(_beside(pictures), " · ".join(names))


def _picture(kind: str, job: Job | None) -> RGB | None:
    """A frame as it is shown: plain, under its mask, or with its text marked; None where it cannot be read."""
    if job is None:
        return None
    try:
        image = read_record(job.record)
        marked = _marked(kind, job, image)
    except VasomimError:
        return None
    return fit_within(to_rgb(image) if marked is None else overlay(image, marked), SIDE)


def _marked(kind: str, job: Job, image: FloatImage) -> BoolImage | None:
    if kind == "burnt_in_text":
        return _outlined(image)
    if kind not in MASKED:
        return None
    mask = audited_mask(job, (image.shape[0], image.shape[1]))
    return mask if mask.shape == image.shape else None


def _outlined(image: FloatImage) -> BoolImage:
    """Frames around the text."""
    canvas = np.zeros(image.shape, np.uint8)
    width = max(1, max(image.shape) // 170)
    for box in text_boxes(image):
        low, high = (round(box.x0) - 4, round(box.y0) - 4), (round(box.x1) + 4, round(box.y1) + 4)
        cv2.rectangle(canvas, low, high, 1, width)
    return canvas > 0


def _beside(pictures: Sequence[RGB]) -> RGB:
    """Pictures in a row on black, 3 pixels apart."""
    height = max(picture.shape[0] for picture in pictures)
    parts = []
    for picture in pictures:
        below = height - picture.shape[0]
        parts.append(np.pad(picture, ((0, below), (0, 3), (0, 0)), constant_values=0))
    return np.concatenate(parts, axis=1)[:, :-3]


def _listing(items: Sequence[Finding]) -> str:
    """Each finding with its files, folded away where they are many."""
    lines, count = [], 0
    for item in items:
        others = [name for name in item.files if name not in item.message]
        shown = others[: max(0, LISTED - count)]
        count += max(1, len(shown))
        more = f" and {len(others) - len(shown)} more" if len(shown) < len(others) else ""
        if shown or not others:
            lines.append(f"<li>{escape(': '.join(filter(None, [item.message, ', '.join(shown)])))}{more}</li>")
    left = len(items) - len(lines)
    rest = f"<p>{left} more in doctor.json</p>" if left else ""
    word = "finding" if len(items) == 1 else "findings"
    unfolded = " open" if count <= UNFOLDED else ""
    return (
        f"<details{unfolded}><summary>{len(items)} {word}, by file</summary><ul>{''.join(lines)}</ul>{rest}</details>"
    )


def _data(summary: Mapping[str, Any]) -> str:
    rows: list[list[Cell]] = []
    for name, data in summary["sets"].items():
        grey, share = data.get("grey", {}), data.get("vessel_share", {})
        span = f"{grey['mean']:.2f} ± {grey['std']:.2f}" if grey else None
        vessel = f"{share['mean']:.1%} ({share['min']:.1%} to {share['max']:.1%})" if share else None
        bits = ", ".join(data["bits"])
        rows.append([name, data["frames"], data["patients"] or None, _counted(data["sizes"]), bits, span, vessel])
    header = ["set", "frames", "patients", "size", "bits", "grey values", "vessel share"]
    table = html_table(rows, header, f"Splits: {_counted(summary['splits']) or 'none'}.")
    balances = [(name, data["categories"]) for name, data in summary["sets"].items() if data.get("categories")]
    return table + "".join(_balance(name, categories) for name, categories in balances)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _balance(name: str, categories: Mapping[str, int]) -> str:
    """Annotations of each category with a bar."""
    most = max(categories.values())
    bar = '<div style="width:{}px;height:.7em;background:var(--accent)"></div>'
    rows: list[list[Cell]] = [
        [label, count, Html(bar.format(round(200 * count / most)))] for label, count in categories.items()
    ]
    return f"<h3>Annotations by category, {escape(name)}</h3>" + html_table(rows, ["category", "annotations", ""])
