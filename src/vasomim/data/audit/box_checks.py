"""Findings about boxes.csv beside a set of frames."""

from __future__ import annotations

from collections.abc import Sequence

from vasomim.data.audit.findings import Finding, finding
from vasomim.data.audit.layout import AuditFrame, AuditSet
from vasomim.data.audit.look import Look
from vasomim.data.boxes import TABLE, FrameNote

SLACK = 1.0
"""Pixels that a box may leave its frame by: rounding, not a mistake."""


def table_findings(home: AuditSet, seen: Sequence[tuple[AuditFrame, Look]]) -> list[Finding]:
    """Rows for frames that are not there, and boxes that leave their frame."""
    there = {frame.key: look for frame, look in seen}
    table = home.show(home.root / TABLE)
    missing = [home.show_frame(name) for name in home.notes if name not in there]
    found = []
    if missing:
        text = f"{table} names {len(missing)} frames that are not there"
        found.append(finding("missing_frame", [table, *missing], text))
    outside = [
        home.show_frame(name)
        for name, note in home.notes.items()
        if name in there and not there[name].error and _leaves(note, there[name].shape)
    ]
    if outside:
        text = f"{table} holds boxes that leave {len(outside)} frames"
        found.append(finding("box_out_of_bounds", [table, *outside], text))
    return found


def _leaves(note: FrameNote, shape: tuple[int, int]) -> bool:
    height, width = shape
    return any(min(box.x0, box.y0) < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK for box in note.boxes)
