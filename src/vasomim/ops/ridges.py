"""Dark and bright ridges of a frame: which of the two it has more of, and whether a mask lies on them."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from vasomim.ops.field_of_view import field_of_view, shrink
from vasomim.ops.hessian import hessian
from vasomim.ops.oriented import along_ridges
from vasomim.types import BoolImage, FloatImage

SIDE = 192
"""Pixels either way that a frame is brought to."""
SIGMA = 1.5
MARGIN = 20
"""Pixels at the edge of the field that do not count: blades and their penumbra are ridges too."""
LOCAL = 12
"""Standard deviation in pixels over which contrast is made even."""
STRONG = 0.98
"""Ridges beyond this quantile count."""
MAX_SHIFT = 24
INVERTED = -0.1
"""Polarity below which vessels are bright; without contrast agent it may fall to -0.07."""


class Ridges(NamedTuple):
    """Ridge responses of one frame at 192 x 192, and where they count."""

    dark: FloatImage
    bright: FloatImage
    inside: BoolImage


class Shift(NamedTuple):
    """Where a mask fits the ridges best, as shares of the frame's height and width; 0 and 0: where it is."""

    down: float
    right: float
    there: float
    """Correlation of mask and ridges after that shift, -1 to 1."""
    here: float
    """The same without a shift."""


def ridges(image: FloatImage) -> Ridges:
    """Elongated dark and bright ridges of a frame: (H, W) in [0, 1] -> three times (192, 192).

    Contrast is made even locally, so that an inverted frame answers with the two exchanged and nothing else.
    """
    how = cv2.INTER_AREA if min(image.shape) >= SIDE else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), np.float32)
    field = field_of_view(small) & field_of_view(1 - small)
    even = _even(_filled(small, field))
    yy, xy, xx = hessian(even, SIGMA, truncate=4.0)
    dark = along_ridges(yy, xy, xx, half_length=6, steps=2)
    bright = along_ridges(-yy, -xy, -xx, half_length=6, steps=2)
    inside = shrink(field, MARGIN)
    return Ridges(dark, bright, inside if np.count_nonzero(inside) > 500 else field)


def polarity(maps: Ridges) -> float:
    """Log ratio of the strong dark to the strong bright ridges: above 0 where vessels are dark, below where bright."""
    if not maps.inside.any():
        return 0.0
    dark, bright = (_strength(response[maps.inside]) for response in (maps.dark, maps.bright))
    return math.log((dark + 1e-3) / (bright + 1e-3))


def concentration(response: FloatImage, inside: BoolImage) -> float:
    """Share of a ridge response that its strongest fiftieth holds: 0.02 if it is even, 1 for a few lines."""
    values = response[inside]
    total = float(values.sum())
    if not total:
        return 0.0
    rank = int(STRONG * len(values))
    return float(np.partition(values, rank)[rank:].sum()) / total


def best_shift(mask: BoolImage, maps: Ridges) -> Shift:
    """The shift, up to an eighth of the frame, that brings a mask onto the dark ridges: bool (H, W) -> shares.

    Mask and ridges are correlated at all shifts at once, by the Fourier transform, the field's edges left out.
    """
    small = cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    # Compressed, as a single clip or wire would outweigh a tree.
    response = np.sqrt(maps.dark) * maps.inside
    x, y = small - small.mean(), response - response[maps.inside].mean() * maps.inside
    norm = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    if norm < 1e-6:
        return Shift(0.0, 0.0, 0.0, 0.0)
    padded = 2 * (SIDE,)
    product = np.fft.rfft2(y, padded) * np.conj(np.fft.rfft2(x, padded))
    around = np.roll(np.fft.irfft2(product, padded), (MAX_SHIFT, MAX_SHIFT), (0, 1)) / norm
    around = around[: 2 * MAX_SHIFT + 1, : 2 * MAX_SHIFT + 1]
    down, right = (int(k) - MAX_SHIFT for k in np.unravel_index(int(around.argmax()), around.shape))
    return Shift(down / SIDE, right / SIDE, float(around.max()), float(around[MAX_SHIFT, MAX_SHIFT]))


def _filled(image: FloatImage, field: BoolImage) -> FloatImage:
    """What lies outside the field replaced by the local mean of what lies inside, so that no edge is left."""
    if field.all():
        return image
    weight = field.astype(np.float32)
    mean = cv2.GaussianBlur(image * weight, (0, 0), 9) / (cv2.GaussianBlur(weight, (0, 0), 9) + np.float32(1e-3))
    return np.where(field, image, mean).astype(np.float32)


def _even(image: FloatImage) -> FloatImage:
    """Local mean 0 and deviation about 1."""
    rest = image - cv2.GaussianBlur(image, (0, 0), LOCAL)
    spread = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), LOCAL))
    return np.asarray(rest / (spread + np.float32(0.01)), np.float32)


def _strength(values: FloatImage) -> float:
    rank = int(STRONG * len(values))
    return float(np.partition(values, rank)[rank:].mean())
