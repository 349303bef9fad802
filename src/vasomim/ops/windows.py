"""Where windows lie on a frame, and how much each of their pixels counts when they are blended."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vasomim.types import FloatImage

_SHARPNESS = 8.0
"""Standard deviations of the weights' Gaussian in a window."""


def window_starts(length: int, window: int, overlap: float) -> npt.NDArray[np.int64]:
    """First pixels of equal windows along one side, evenly spaced, the last one flush with the end.

    Args:
        length: pixels of the side, at least `window`.
        window: pixels of a window.
        overlap: smallest share of a window that it has in common with the next, in [0, 1).

    Raises:
        ValueError: the side is shorter than a window, or the overlap lies outside [0, 1).
    """
    if not 1 <= window <= length:
        raise ValueError(f"a window of {window} px does not fit a side of {length} px; pad the frame first")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
    stride = max(1, math.floor(window * (1 - overlap)))
    count = math.ceil((length - window) / stride) + 1
    return np.round(np.linspace(0, length - window, count)).astype(np.int64)


def window_grid(height: int, width: int, window: int, overlap: float) -> npt.NDArray[np.int64]:
    """Top-left corners (N, 2) as (row, column) of square windows that cover a frame, row by row; errors as above."""
    rows, columns = window_starts(height, window, overlap), window_starts(width, window, overlap)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def window_weights(window: int) -> FloatImage:
    """How much each pixel of a square window counts: a Gaussian, 1 in the middle, positive everywhere.

    A prediction is best where the network sees context on all sides. The weights are a product of one factor a row
    and one a column, so at the frame's border, where all windows weigh little, they still blend without a seam.

    Args:
        window: side in pixels.

    Returns:
        (window, window) float32; from 1e-7 in the corners to 1.
    """
    distance = (np.arange(window) - (window - 1) / 2) / (window / _SHARPNESS)
    bell = np.exp(-0.5 * distance**2)
    return np.asarray(np.outer(bell, bell) / bell.max() ** 2, dtype=np.float32)


def pad_to_window(image: FloatImage, window: int) -> tuple[FloatImage, int, int]:
    """A frame mirrored at its borders until it holds a window: padded frame, rows above, columns to the left."""
    missing = [max(0, window - side) for side in image.shape]
    top, left = missing[0] // 2, missing[1] // 2
    margins = ((top, missing[0] - top), (left, missing[1] - left))
    return np.pad(image, margins, mode="reflect") if any(missing) else image, top, left
