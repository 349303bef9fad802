"""Text burnt into a frame: sharp strokes of one grey value in a row, white or black."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import Box, FloatImage

CONTRAST = 0.25
"""How much brighter or darker than its ground a stroke is, as a share of the full scale."""
STROKE = 9
"""Widest stroke in pixels of a frame of 512."""
HEIGHTS = (6, 44)
"""Smallest and largest letter in pixels of a frame of 512."""
LETTERS = 4
"""Letters in a row that make a text; clips, wires and vessels come in shorter rows."""
TOLERANCE = 20
"""Letters of a text have one grey value up to this, of 255, and it is the frame's extreme."""


class _Letter(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float
    ink: float
    """Grey value of its strokes."""

    @property
    def height(self) -> float:
        return self.bottom - self.top


def text_boxes(image: FloatImage) -> list[Box]:
    """Rows of at least four letters: (H, W) in [0, 1] -> boxes in pixels, none where there is no text.

    Letters are sharp: what is left after opening the frame with a disc wider than a stroke, and at least 0.25 of the
    full scale. Those of one size, one height and one grey value, the brightest or darkest of the frame, make a row.
    """
    scale = max(image.shape) / 512
    boxes = []
    levels = np.rint(image * 255).astype(np.uint8)
    for frame in (levels, 255 - levels):
        rows = _rows(_letters(frame, scale))
        boxes += [_around(row) for row in rows if len(row) >= LETTERS]
    return boxes


def _letters(image: npt.NDArray[np.uint8], scale: float) -> list[_Letter]:
    """Candidate letters of bright strokes, from left to right."""
    top = int(image.max())
    width = max(3, round(STROKE * scale) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    strokes = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, disc)
    ink = (strokes > 255 * CONTRAST) & (image > top - 2 * TOLERANCE)
    _, labels, found, _ = cv2.connectedComponentsWithStats(ink.view(np.uint8), connectivity=8)
    stats = np.asarray(found, np.int64)
    low, high = (height * scale for height in HEIGHTS)
    fits = (stats[:, 3] >= low) & (stats[:, 3] <= high) & (stats[:, 2] <= 1.6 * stats[:, 3])
    fits &= stats[:, 4] <= 0.9 * stats[:, 2] * stats[:, 3] + 2 * stats[:, 3]
    fits[0] = False
    letters = []
    for index in np.flatnonzero(fits):
        x, y, w, h = stats[index, :4].tolist()
        part = (slice(y, y + h), slice(x, x + w))
        value = float(np.quantile(image[part][labels[part] == index], 0.75))
        if value > top - TOLERANCE:
            letters.append(_Letter(x, y, x + w, y + h, value))
    return sorted(letters)


def _rows(letters: Sequence[_Letter]) -> list[list[_Letter]]:
    """Letters chained to rows: of similar height, on one line, not far apart."""
    rows: list[list[_Letter]] = []
    for letter in letters:
        row = next((row for row in reversed(rows) if _follows(row[-1], letter)), None)
        if row is None:
            rows.append([letter])
        else:
            row.append(letter)
    return rows


def _follows(before: _Letter, letter: _Letter) -> bool:
    height = max(before.height, letter.height)
    gap = letter.left - before.right
    on_line = min(abs(before.bottom - letter.bottom), abs(before.top - letter.top)) <= 0.25 * height
    return (
        on_line
        and -0.5 * height <= gap <= 1.6 * height
        and min(before.height, letter.height) >= 0.6 * height
        and abs(before.ink - letter.ink) <= TOLERANCE / 2
    )


def _around(row: Sequence[_Letter]) -> Box:
    left, top = min(letter.left for letter in row), min(letter.top for letter in row)
    right, bottom = max(letter.right for letter in row), max(letter.bottom for letter in row)
    return Box(left, top, right, bottom, "text")
