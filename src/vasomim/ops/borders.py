"""Borders of a frame that show nothing: the black around a picture that was put into a larger one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vasomim.types import FloatImage

Box = tuple[slice, slice]
"""Rows and columns."""

TOLERANCE = 0.01
"""Range of grey values up to which a row or column is empty: what lossy compression leaves of black."""

LEAST = 0.1
"""Share of a frame's area from which on what is not empty is a picture, not a label in a corner."""


def content(image: FloatImage) -> Box:
    """The frame without the rows and columns at its border whose grey values are all alike.

    Args:
        image: (H, W) float32 in [0, 1].

    Returns:
        A box that is the whole frame where nothing is left out, or less than `LEAST` would be left.
    """
    height, width = image.shape
    rows, columns = (_span(image.max(axis) - image.min(axis) > TOLERANCE) for axis in (1, 0))
    kept = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns) if kept >= LEAST * height * width else (slice(0, height), slice(0, width))


def _span(varied: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last True; empty if there is none."""
    places = np.flatnonzero(varied)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
