"""Whether two frames are one and the same: their fine structure compared tile by tile."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.ops.field_of_view import field_of_view, shrink
from vasomim.types import FloatImage

SIDES = (256, 128)
"""Common size of the two frames in pixels; the second where one of them is too small for the first."""
TILES = 8
"""Tiles either way."""
BAND = (1.5, 5.0)
"""Standard deviations in pixels between which structure counts: finer is lost in compression, coarser is anatomy."""
MIN_CONTRAST = 0.013
"""A tile whose fine structure deviates less, in units of the frame's spread, is empty and tells nothing."""
MIN_TILES = 8
MIN_INSIDE = 0.3
"""Share of a tile that must lie in the exposed field."""
EDGE = 32
"""What is within this part of the side from the edge of the field does not count."""


class Likeness(NamedTuple):
    """Correlation of fine structure over the tiles of two frames, -1 to 1."""

    quartile: float
    """Three quarters of the tiles correlate better: near 1 in copies alone, as in a run the vessels move."""
    median: float
    """High also in frames of one run, whose background stands still."""


def likeness(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Likeness:
    """Compare two frames of any size, (H, W) each, >= 0, in any unit; brightness and contrast hardly count.

    Both are brought to 256 x 256 (frames below 192 pixels: 128 x 128) and band-passed; what lies outside the exposed
    field of either is left out, as many frames share its edges. Tiles are judged one by one, so that no single
    structure can outweigh all the rest. Frames without structure are unlike all others.
    """
    side = SIDES[0] if min(*a.shape, *b.shape) >= 0.75 * SIDES[0] else SIDES[1]
    first, second = _at(a, side), _at(b, side)
    inside = _tiles(shrink(field_of_view(first) & field_of_view(second), side // EDGE).astype(np.float32))
    x, y = _structure(first, inside), _structure(second, inside)
    spread = np.sqrt(np.maximum((x * x).mean(1), (y * y).mean(1)))
    full = (spread > MIN_CONTRAST) & (inside.mean(1) > MIN_INSIDE)
    if np.count_nonzero(full) < MIN_TILES:
        return Likeness(0.0, 0.0)
    x, y = x[full], y[full]
    r = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1) + 1e-12)
    quartile, median = np.quantile(r, [0.25, 0.5]).tolist()
    return Likeness(quartile, median)


def _at(image: npt.NDArray[Any], side: int) -> FloatImage:
    """The frame at `side` x `side` with deviation 1."""
    frame = np.asarray(image, np.float32)
    how = cv2.INTER_AREA if min(frame.shape) >= side else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(frame, (side, side), interpolation=how), np.float32)
    # Rounding noise of a flat frame must not be blown up to a picture.
    spread = max(float(small.std()), 1e-4 * float(np.abs(small).max()), 1e-9)
    return small / np.float32(spread)


def _structure(image: FloatImage, inside: FloatImage) -> FloatImage:
    """Band-passed tiles with mean 0 over the pixels inside: (S, S) -> (64, pixels of a tile), 0 outside."""
    tiles = _tiles(cv2.GaussianBlur(image, (0, 0), BAND[0]) - cv2.GaussianBlur(image, (0, 0), BAND[1])) * inside
    mean = tiles.sum(1, keepdims=True) / np.maximum(inside.sum(1, keepdims=True), 1)
    return np.asarray((tiles - mean) * inside, np.float32)


def _tiles(image: FloatImage) -> FloatImage:
    step = image.shape[0] // TILES
    return image.reshape(TILES, step, TILES, step).swapaxes(1, 2).reshape(TILES * TILES, step * step)
