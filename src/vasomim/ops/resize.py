"""Whole frames and masks at another size, deterministically."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse

from vasomim.types import BoolImage, FloatImage


def resize_area(image: FloatImage, size: int | tuple[int, int]) -> FloatImage:
    """Resize float32 (H, W) to a height and width, or to a square, the aspect ratio given up as in the paper.

    Pixels are averaged over the area they cover when the frame shrinks; where it grows on either side, linear
    interpolation, as area averaging would only repeat pixels.

    Raises:
        ValueError: `size` is below 1 or the image is not two-dimensional.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if image.ndim != 2:
        raise ValueError(f"resize_area needs one (H, W) image, got shape {image.shape}")
    grows = height > image.shape[0] or width > image.shape[1]
    interpolation = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    resized = cv2.resize(np.ascontiguousarray(image, dtype=np.float32), (width, height), interpolation=interpolation)
    return np.asarray(resized, dtype=np.float32)


def average_area(image: FloatImage, size: int, *, flip_y: bool = False, flip_x: bool = False) -> FloatImage:
    """Shrink to a square by averaging over area: float32 (H, W) -> (size, size), H and W at least `size`.

    The same numbers as OpenCV's INTER_AREA to rounding, in a third of its time: along each side the average is a
    product with a band matrix, which sparse products compute with whole rows at once. Flips cost nothing then.

    Raises:
        ValueError: the image is smaller than `size`.
    """
    height, width = image.shape
    if min(height, width) < size or size < 1:
        raise ValueError(f"average_area shrinks to 1 pixel or more, got {height} x {width} to {size}")
    image = np.ascontiguousarray(image, dtype=np.float32)
    rows = _averages(height, size, flip_y) @ image  # (size, W)
    return np.asarray(cv2.transpose(_averages(width, size, flip_x) @ cv2.transpose(rows)))


@lru_cache(maxsize=4096)
def _averages(length: int, size: int, flip: bool) -> sparse.csr_array:
    """(size, length) matrix: row i averages [i, i + 1) * length / size, parts of pixels counted as such."""
    edges = np.arange(size + 1) * length  # in units of 1 / size pixel, so that they are exact
    first, last = edges[:-1] // size, -(-edges[1:] // size)
    counts = last - first
    starts = np.concatenate([[0], np.cumsum(counts)])
    row = np.repeat(np.arange(size), counts)
    column = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
    overlap = np.minimum((column + 1) * size, edges[row + 1]) - np.maximum(column * size, edges[row])
    weights = (overlap / length).astype(np.float32)
    matrix = sparse.csr_array((weights, column.astype(np.int32), starts.astype(np.int32)), shape=(size, length))
    return matrix[::-1] if flip else matrix


@lru_cache(maxsize=4096)
def nearest_index(length: int, size: int) -> npt.NDArray[np.int64]:
    """(size,) which of `length` pixels is nearest to the centre of each of `size`; of two alike the one behind.

    In whole numbers, so that ties do not depend on rounding, as they do in OpenCV; its plain nearest mode moreover
    picks the pixel at the corner, half a pixel off.
    """
    return (2 * np.arange(size) + 1) * length // (2 * size)


def pick_nearest(mask: BoolImage, size: int, *, flip_y: bool = False, flip_x: bool = False) -> BoolImage:
    """The pixels of a mask by `nearest_index` of both sides: bool (H, W) -> bool (size, size)."""
    height, width = mask.shape
    rows = mask.take(nearest_index(height, size)[:: -1 if flip_y else 1], 0).view(np.uint8)
    # Rows are copied whole; so the columns are taken as rows, at a third of the time.
    columns = cv2.transpose(rows).take(nearest_index(width, size)[:: -1 if flip_x else 1], 0)
    return np.asarray(cv2.transpose(columns)).view(np.bool_)


def resize_mask(mask: BoolImage, size: int) -> BoolImage:
    """Resize a mask to a square: bool (H, W) -> bool (size, size), True where more than half of the area is vessel.

    This is how the 224 px protocol makes its labels: filled at native size, area-averaged, > 0.5.

    Raises:
        ValueError: As `resize_area`.
    """
    return resize_area(mask.astype(np.float32), size) > 0.5
