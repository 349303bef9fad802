"""Borders of a frame that show nothing: the black around a picture that was put into a larger one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vasomim.types import FloatImage

Region = tuple[slice, slice]
"""Rows and columns."""

NOISE = 0.02
"""Spread of grey values up to which a row or column is empty: what lossy compression and noise leave of black."""

CONTRAST = 0.05
"""The same, as a share of the frame's own spread, so that frames of little contrast keep their content."""

MARKED = 0.05
"""Share of a row at either end of its grey values that is not looked at: writing on a bar, a line around the frame."""

LEAST = 0.1
"""Share of a frame's area from which on what is not empty is a picture, not a label in a corner."""


def content(image: FloatImage) -> Region:
    """The frame without the rows and columns at its border in which nearly all grey values are alike.

    Args:
        image: (H, W) float32 in [0, 1].

    Returns:
        A region that is the whole frame where nothing is left out, or less than `LEAST` would be left.
    """
    height, width = image.shape
    empty = min(NOISE, CONTRAST * _spread(image[:: max(1, height // 64), :: max(1, width // 64)].ravel()))
    rows = _inside(image, empty)
    columns = _inside(image[rows].T, empty) if rows.stop > rows.start else rows
    kept = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns) if kept >= LEAST * height * width else (slice(0, height), slice(0, width))


def _inside(image: FloatImage, empty: float) -> slice:
    """From the first to the last row that spreads wider than `empty`; none if there is none."""
    first = _count_empty(image, empty)
    return slice(first, max(first, len(image) - _count_empty(image[::-1], empty)))


def _count_empty(rows: Iterable[FloatImage], empty: float) -> int:
    """Rows before the first that is not empty; few are looked at, as most frames begin with one that is not."""
    count = 0
    for row in rows:
        if _spread(row) > empty:
            return count
        count += 1
    return count


def _spread(values: npt.NDArray[np.float32]) -> float:
    """Range of grey values without the `MARKED` share at either end."""
    skipped = int(MARKED * len(values))
    ordered = np.partition(values, (skipped, len(values) - 1 - skipped))
    return float(ordered[-1 - skipped] - ordered[skipped])
