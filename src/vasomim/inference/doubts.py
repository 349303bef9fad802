"""Frames that a vessel segmenter should not be trusted with: no angiograms, or angiograms of inverted polarity."""

from __future__ import annotations

from vasomim.ops.ridges import INVERTED, concentration, polarity, ridges
from vasomim.types import FloatImage

SMALLEST = 64
"""Side in pixels below which nothing is said."""
BALANCED = 0.03
"""Polarity below which dark lines do not outweigh bright ones; one of 505 public angiograms lies below."""
SPREAD = 0.06
"""Concentration below which lines are everywhere, as in noise and textures; none of those angiograms lies below."""


def doubt_about(image: FloatImage) -> str | None:
    """One line on what is wrong with a frame (H, W) in [0, 1], or None."""
    if min(image.shape) < SMALLEST:
        return None
    maps = ridges(image)
    sign = polarity(maps)
    gathered = concentration(maps.dark if sign >= INVERTED else maps.bright, maps.inside)
    if sign < INVERTED and gathered >= SPREAD:
        return "its lines are bright: if this is an angiogram it is inverted; give frames with dark vessels"
    if sign < BALANCED or gathered < SPREAD:
        return "it shows no dark lines as contrast-filled vessels do: no angiogram, or one without contrast agent"
    return None
