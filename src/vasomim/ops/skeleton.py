"""Centrelines of binary masks, and how wide a vessel is along them."""

from __future__ import annotations

import cv2
import numpy as np
from skimage import morphology

from vasomim.types import BoolImage, FloatImage


def bounding_box(mask: BoolImage) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box around the True pixels of a (H, W) mask; None where there are none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def skeletonize(mask: BoolImage) -> BoolImage:
    """One pixel wide centreline of a mask: bool (H, W) -> bool (H, W), a subset of the mask.

    Zhang and Suen's parallel thinning (CACM 27(3), 1984) as scikit-image computes it, on the bounding box of the
    mask only: pixels outside it are background either way, so the result is the same to the bit. Every 8-connected
    component keeps at least one pixel.

    Raises:
        ValueError: The mask is not two-dimensional.
    """
    if mask.ndim != 2:
        raise ValueError(f"skeletonize needs one (H, W) mask, got shape {mask.shape}; call it once per frame")
    skeleton = np.zeros(mask.shape, dtype=np.bool_)
    box = bounding_box(mask)
    if box is not None:
        skeleton[box] = morphology.skeletonize(np.ascontiguousarray(mask[box]))  # type: ignore[no-untyped-call]
    return skeleton


def distance_inside(mask: BoolImage) -> FloatImage:
    """Euclidean distance of each True pixel to the nearest False one, in pixels: bool (H, W) -> float32 (H, W).

    Beyond the image border lies background: a vessel that leaves the frame is as wide there as it looks.
    """
    return np.ascontiguousarray(_distance_to_zero(np.pad(mask, 1))[1:-1, 1:-1])


def distance_to(points: BoolImage) -> FloatImage:
    """Euclidean distance of each pixel to the nearest True one, in pixels: bool (H, W) -> float32 (H, W).

    Raises:
        ValueError: There is no True pixel to measure the distance to.
    """
    if not points.any():
        raise ValueError("distance_to needs at least one True pixel, got none; treat the empty mask before")
    return _distance_to_zero(~points)


def _distance_to_zero(mask: BoolImage) -> FloatImage:
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bits change with its threads; squared distances are whole numbers, so round there.
    exact: FloatImage = np.sqrt(np.rint(distance * distance))
    return exact


def local_width(mask: BoolImage) -> FloatImage:
    """Vessel width at each pixel if it lies on the centreline, in pixels: bool (H, W) -> float32 (H, W), 0 outside.

    With d the distance of a centreline pixel to the background, a straight vessel is 2d - 1 pixels wide if the width
    is odd and 2d if it is even; 2d - 1/2 is never off by more than half a pixel.
    """
    return np.where(mask, 2 * distance_inside(mask) - np.float32(0.5), np.float32(0))


def spread_from(points: BoolImage, values: FloatImage) -> FloatImage:
    """Give every pixel the value of its nearest True pixel: bool (H, W), float32 (H, W) -> float32 (H, W).

    Nearest in OpenCV's 5 x 5 chamfer distance, which is within 2 % of the Euclidean one.

    Raises:
        ValueError: There is no True pixel, or the shapes differ.
    """
    if points.shape != values.shape:
        raise ValueError(f"points are {points.shape} but values {values.shape}; both must be the same (H, W)")
    if not points.any():
        raise ValueError("spread_from needs at least one True pixel, got none; treat the empty mask before")
    _, labels = cv2.distanceTransformWithLabels(
        (~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    table[labels[points]] = values[points]
    spread: FloatImage = table[labels]
    return spread
