"""Whole frames and masks at another size, deterministically."""

from __future__ import annotations

import cv2
import numpy as np

from vasomim.types import BoolImage, FloatImage


def resize_area(image: FloatImage, size: int) -> FloatImage:
    """Resize to a square: float32 (H, W) -> float32 (size, size), the aspect ratio given up as in the paper.

    Pixels are averaged over the area they cover when the frame shrinks; where it grows on either side, linear
    interpolation, as area averaging would only repeat pixels.

    Raises:
        ValueError: `size` is below 1 or the image is not two-dimensional.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if image.ndim != 2:
        raise ValueError(f"resize_area needs one (H, W) image, got shape {image.shape}")
    grows = size > min(image.shape)
    interpolation = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    resized = cv2.resize(np.ascontiguousarray(image, dtype=np.float32), (size, size), interpolation=interpolation)
    return np.asarray(resized, dtype=np.float32)


def resize_mask(mask: BoolImage, size: int) -> BoolImage:
    """Resize a mask to a square: bool (H, W) -> bool (size, size), True where more than half of the area is vessel.

    This is how the 224 px protocol makes its labels: filled at native size, area-averaged, > 0.5.

    Raises:
        ValueError: As `resize_area`.
    """
    return resize_area(mask.astype(np.float32), size) > 0.5
