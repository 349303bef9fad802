"""Frames of a run beside each other: weights of a sliding window, and how much a mask flickers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage


def window_of(index: int, length: int, radius: int) -> tuple[range, npt.NDArray[np.float32]]:
    """The frames that frame `index` is averaged over, cut at both ends of the run, and their weights.

    The weights fall linearly from the middle outwards, so that the frame itself counts most, and sum to 1.

    Args:
        index: in [0, length).
        length: frames of the run.
        radius: frames on each side, at least 0.

    Raises:
        ValueError: an argument out of its range.
    """
    if radius < 0 or not 0 <= index < length:
        raise ValueError(f"need radius >= 0 and 0 <= index < length, got {radius}, {index} and {length}")
    frames = range(max(0, index - radius), min(length, index + radius + 1))
    weights = radius + 1 - np.abs(np.arange(frames.start, frames.stop) - index)
    return frames, (weights / weights.sum()).astype(np.float32)


def flickering(before: BoolImage, mask: BoolImage, after: BoolImage) -> BoolImage:
    """Pixels that are vessel, or are none, in the middle frame alone: three bool (H, W) -> bool (H, W).

    A vessel that moves steadily or fills with contrast changes each pixel once and does not flicker.
    """
    found: BoolImage = (mask != before) & (mask != after)
    return found
