"""Connected components of masks: the one that holds a pixel, those large or long enough, two thresholds."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage


def _check_mask(mask: BoolImage) -> None:
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"mask must be a bool array (H, W), got {mask.dtype} of shape {mask.shape}")


def _labelled(mask: BoolImage, connectivity: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Labels (H, W), 0 = background, and OpenCV's statistics (number of labels, 5): x, y, width, height, area."""
    _check_mask(mask)
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=connectivity)
    return np.asarray(labels, np.int32), np.asarray(stats, np.int32)


def component_at(mask: BoolImage, seed: tuple[int, int], connectivity: int = 4) -> BoolImage:
    """The component that holds the pixel `seed` = (row, column); empty where that pixel is not set.

    Raises:
        ValueError: if `mask` is not bool (H, W) or `connectivity` not 4 or 8.
    """
    labels, _ = _labelled(mask, connectivity)
    label = labels[seed]
    return labels == label if label else np.zeros_like(mask)


def keep_components(mask: BoolImage, min_area: float = 0, min_extent: float = 0, connectivity: int = 8) -> BoolImage:
    """Components with at least `min_area` pixels whose bounding box has a diagonal of at least `min_extent` pixels.

    Raises:
        ValueError: if `mask` is not bool (H, W) or `connectivity` not 4 or 8.
    """
    labels, stats = _labelled(mask, connectivity)
    diagonal = np.hypot(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    keep = (stats[:, cv2.CC_STAT_AREA] >= min_area) & (diagonal >= min_extent)
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.bool_)


def hysteresis(weak: BoolImage, strong: BoolImage, connectivity: int = 8) -> BoolImage:
    """Components of `weak` that hold at least one pixel of `strong`.

    Raises:
        ValueError: if the masks are not bool (H, W) of one shape, or `connectivity` is not 4 or 8.
    """
    if weak.shape != strong.shape:
        raise ValueError(f"weak is {weak.shape} and strong {strong.shape}; both need the same shape")
    labels, stats = _labelled(weak, connectivity)
    keep = np.zeros(len(stats), dtype=np.bool_)
    keep[labels[strong]] = True
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.bool_)
