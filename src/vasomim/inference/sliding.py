"""Frames of any size through a network of fixed input size: overlapping windows, blended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vasomim.ops.windows import pad_to_window, window_grid, window_weights
from vasomim.types import FloatImage

Windows = npt.NDArray[np.float32]
"""(B, S, S)"""


class _Canvas:
    """The weighted sum of a frame's windows."""

    def __init__(self, image: FloatImage, window: int) -> None:
        self.window = window
        self.image, self.top, self.left = pad_to_window(image, window)
        self.shape = image.shape
        self.values = np.zeros(self.image.shape, np.float32)
        self.weights = np.zeros(self.image.shape, np.float32)

    def places(self, overlap: float) -> Iterator[_Place]:
        height, width = self.image.shape
        for row, column in window_grid(height, width, self.window, overlap):
            yield self, int(row), int(column)

    def cut(self, row: int, column: int) -> FloatImage:
        return self.image[row : row + self.window, column : column + self.window]

    def add(self, window: FloatImage, weights: FloatImage, row: int, column: int) -> None:
        area = np.s_[row : row + window.shape[0], column : column + window.shape[1]]
        self.values[area] += window * weights
        self.weights[area] += weights

    def blended(self) -> FloatImage:
        area = np.s_[self.top : self.top + self.shape[0], self.left : self.left + self.shape[1]]
        return self.values[area] / self.weights[area]


_Place = tuple[_Canvas, int, int]
"""A window: its frame, first row, first column."""


def slide(
    images: Sequence[FloatImage],
    predict: Callable[[Windows], Windows],
    window: int,
    overlap: float = 0.25,
    batch_size: int = 4,
) -> list[FloatImage]:
    """Predict frames window by window; windows of several frames share batches.

    Args:
        images: (H, W) float32 frames of any sizes; those smaller than a window are mirrored at their borders.
        predict: (B, S, S) -> (B, S, S), the same function for every window; B is at most `batch_size`.
        window: side S of a window in pixels.
        overlap: smallest share of a window in common with its neighbour, in [0, 1).
        batch_size: windows predicted together.

    Returns:
        One (H, W) float32 map a frame, at its own size. Where windows overlap, their values are averaged with
        Gaussian weights, so no seams show.
    """
    weights = window_weights(window)
    canvases = [_Canvas(image, window) for image in images]
    places = [place for canvas in canvases for place in canvas.places(overlap)]
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        windows = np.stack([canvas.cut(row, column) for canvas, row, column in batch])
        for (canvas, row, column), values in zip(batch, predict(windows), strict=True):
            canvas.add(values, weights, row, column)
    return [canvas.blended() for canvas in canvases]
