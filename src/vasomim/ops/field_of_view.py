"""The part of a frame that X-rays reached: inside collimator blades and circular image intensifiers."""

from __future__ import annotations

import cv2
import numpy as np

from vasomim.types import BoolImage, FloatImage

_DARK = 0.35
"""Share of the grey value in the middle of the frame below which a pixel may lie outside."""
_MIN_SHARE = 0.002
"""Of the frame, that a piece outside has."""


def field_of_view(image: FloatImage) -> BoolImage:
    """True inside the exposed field: (H, W) float32 in [0, 1] -> bool (H, W).

    Outside is what is much darker than the median of the central quarter and hangs together with the frame's border,
    in pieces of some size: so a dark vessel at the border stays inside.
    """
    height, width = image.shape
    half = (max(1, width // 2), max(1, height // 2))
    low = cv2.GaussianBlur(cv2.resize(image, half, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    h, w = low.shape
    centre = low[h // 4 : max(h // 4 + 1, h - h // 4), w // 4 : max(w // 4 + 1, w - w // 4)]
    black = (low < _DARK * np.median(centre)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(black, connectivity=4)
    outside = np.zeros(len(stats), np.bool_)
    outside[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    outside &= stats[:, cv2.CC_STAT_AREA] > _MIN_SHARE * h * w
    outside[0] = False
    inside = (~outside[labels]).astype(np.uint8)
    return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def shrink(mask: BoolImage, margin: int) -> BoolImage:
    """The pixels of a mask farther than `margin` from its edge and from the frame's border (square neighbourhood)."""
    kernel = np.ones((2 * margin + 1,) * 2, np.uint8)
    eroded = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded > 0)
