"""Frames of a run beside each other: where things moved, weights of a sliding window, how much a mask flickers."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage, FloatImage

_SIGMA_GREY = 0.015
"""Difference of grey, after blurring, at which a neighbour that was brought into place still counts for 0.6."""
_BLUR = 2.0
_SHORTEST = 32
"""Side in pixels below which nothing is taken to have moved: on thinner frames OpenCV's flow ends the process."""


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


def bring_into_place(image: FloatImage, other: FloatImage, values: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Values of another frame where this frame shows the same thing, and how much each deserves trust.

    Motion is dense optical flow (Kroeger et al., ECCV 2016); trust falls with the difference of grey that it leaves,
    as it does where contrast has come or gone, or where the flow is wrong.

    Args:
        image: (H, W) in [0, 1], the frame to explain.
        other: (H, W) in [0, 1], of the same run.
        values: (H, W), a map of `other`.

    Returns:
        Moved values and trust in [0, 1], both (H, W) float32.
    """
    rows, columns = np.indices(image.shape, dtype=np.float32)
    there = _flow(image, other) + np.stack([columns, rows], axis=-1)
    blurred = [cv2.GaussianBlur(frame, (0, 0), _BLUR) for frame in (image, other)]
    moved = _sample(values, there)
    difference = _sample(np.asarray(blurred[1], dtype=np.float32), there) - blurred[0]
    trust = np.exp(-(difference**2) / np.float32(2 * _SIGMA_GREY**2))
    return moved, np.asarray(trust, dtype=np.float32)


def flickering(before: BoolImage, mask: BoolImage, after: BoolImage) -> BoolImage:
    """Pixels that are vessel, or are none, in the middle frame alone: three bool (H, W) -> bool (H, W).

    What fills with contrast, or moves by less than its width, changes each pixel once and does not flicker; thin
    vessels that move fast do.
    """
    found: BoolImage = (mask != before) & (mask != after)
    return found


def _flow(image: FloatImage, other: FloatImage) -> npt.NDArray[np.float32]:
    """How far to the right and down (H, W, 2) what `image` shows lies in `other`, in pixels."""
    still = np.zeros((*image.shape, 2), np.float32)
    if min(image.shape) < _SHORTEST:
        return still
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    before, after = (np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8) for frame in (image, other))
    return np.asarray(flow.calc(before, after, still), dtype=np.float32)


def _sample(values: FloatImage, where: npt.NDArray[np.float32]) -> FloatImage:
    """Values at (column, row) positions (H, W, 2), linear between pixels, the border repeated outside."""
    columns, rows = np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])
    moved = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)
