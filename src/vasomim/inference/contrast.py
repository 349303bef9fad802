"""Frames whose grey values fill little of their scale, as where the white level of a file is not that of its frame."""

from __future__ import annotations

import numpy as np

from vasomim.inference.doubts import doubt_about
from vasomim.types import FloatImage

FAINT = 0.1
"""Span of grey values below which a frame is stretched: less than any of 505 public ones (results/doubts.json)."""
USUAL = (0.15, 0.85)
"""What is stretched to: about the span of a usual angiogram."""


def ends(image: FloatImage) -> tuple[float, float]:
    """1st and 99th percentile of the grey values of a frame (H, W)."""
    low, high = np.percentile(image[::4, ::4], (1, 99))
    return float(low), float(high)


def with_usual_contrast(image: FloatImage) -> FloatImage:
    """A frame (H, W) in [0, 1] as it is, or stretched where it is faint and looks like an angiogram.

    Frames without vessels, such as those before the exposure, must not have their noise amplified.
    """
    low, high = ends(image)
    if not 0 < high - low < FAINT or doubt_about(image) is not None:
        return image
    share = (image - np.float32(low)) / np.float32(high - low)
    stretched: FloatImage = np.clip(share * np.float32(USUAL[1] - USUAL[0]) + np.float32(USUAL[0]), 0, 1)
    return stretched
