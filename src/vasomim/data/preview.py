"""A picture of what a folder holds: some of its frames, each beside itself with its mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from vasomim.data.frames import write_png
from vasomim.types import BoolImage, FloatImage
from vasomim.viz.images import contact_sheet, fit_within, overlay, to_rgb

T = TypeVar("T")

MOST = 12
"""Frames shown."""
TILE = 256
"""Side of each picture in pixels."""


def spread(items: Sequence[T]) -> list[T]:
    """At most `MOST` of the items, evenly over all of them, the first included."""
    count = min(len(items), MOST)
    return [items[k * len(items) // count] for k in range(count)]


def write_preview(path: Path, pairs: Iterable[tuple[FloatImage, BoolImage]]) -> Path | None:
    """Write frames (H, W) in [0, 1] and their masks as one PNG, three pairs a row; None, and nothing, without any.

    Raises:
        WriteError: it cannot be written.
    """
    tiles = [fit_within(picture, TILE) for frame, mask in pairs for picture in (to_rgb(frame), overlay(frame, mask))]
    if not tiles:
        return None
    write_png(path, contact_sheet([tiles[k : k + 6] for k in range(0, len(tiles), 6)], tile=TILE))
    return path
