"""Vascular anatomy without labels: a binary vessel map from one grey frame by classical filters.

`reference` repeats the recipe of the published VasoMIM code (Huang et al., AAAI 2026) to the bit; `default` is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.ops.components import component_at, hysteresis, keep_components
from vasomim.ops.hessian import check_image
from vasomim.ops.vesselness import sato, sato_at
from vasomim.types import BoolImage, FloatImage

Method = Literal["default", "reference"]

# Part of the key of cached masks: raise it whenever a method's output changes.
METHOD_VERSION = 1

# The published recipe.
REFERENCE_SIGMAS = (1.0, 2.0, 3.0, 4.0)
REFERENCE_BORDER = 20
REFERENCE_PERCENTILE = 92.0
# float32 answers lie within 2e-5 of the exact ones on 8-bit frames; farther than this from an integer the cast is safe.
REFERENCE_TOLERANCE = 2e-4


def _unit(image: npt.NDArray[Any]) -> FloatImage:
    """Any frame as float32 in [0, 1]: integers by their type's range, floats must lie there already."""
    check_image(image)
    if image.dtype.kind in "ui":
        return (image / np.iinfo(image.dtype).max).astype(np.float32)
    if image.dtype.kind == "b":
        return image.astype(np.float32)
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise ValueError(f"float image spans {low:g} to {high:g}; floats must lie in [0, 1]: divide by the white level")
    return image.astype(np.float32)


def _to_uint8(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Any frame as 8 bits; 8-bit frames, and 8-bit frames divided by 255, pass unchanged."""
    if image.dtype == np.uint8:
        check_image(image)
        return image
    return np.rint(_unit(image) * 255).astype(np.uint8)


def _truncated_sato(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Sato's tubeness cut to integers, as float64 arithmetic would cut it, with a zeroed border: (H, W) uint8."""
    border = REFERENCE_BORDER
    response = np.zeros(image.shape, np.float32)
    if min(image.shape) <= 2 * border:
        return response.astype(np.uint8)
    inner = (slice(border, -border), slice(border, -border))
    response[inner] = sato(image, REFERENCE_SIGMAS)[inner]
    nearest = np.rint(response)
    # Below 1 the cast gives 0 on both sides of 0, and no other integer is near.
    open_ = (np.abs(response - nearest) < REFERENCE_TOLERANCE) & (nearest >= 1)
    rows, columns = np.nonzero(open_)
    out = response.astype(np.uint8)
    out[rows, columns] = sato_at(image, (rows, columns), REFERENCE_SIGMAS).astype(np.uint8)
    return out


def _reference(image: npt.NDArray[Any]) -> tuple[BoolImage, FloatImage]:
    """Sato cut to 8 bits, border zeroed, 92nd percentile, the 4-connected component of the first brightest pixel."""
    response = _truncated_sato(_to_uint8(image))
    kept = (response >= np.percentile(response, REFERENCE_PERCENTILE)) & (response > 0)
    brightest = np.unravel_index(int(np.argmax(response)), response.shape)
    mask = component_at(kept, (int(brightest[0]), int(brightest[1])), connectivity=4)
    return mask, response.astype(np.float32) / np.float32(255)


def _default(image: npt.NDArray[Any]) -> tuple[BoolImage, FloatImage]:
    """Multi-scale Sato on the flattened frame, two thresholds, components by size."""
    frame = _unit(image)
    scale = max(frame.shape) / 512
    background = cv2.GaussianBlur(frame, (0, 0), 16 * scale)
    flat = np.log((frame + np.float32(0.05)) / (background + np.float32(0.05)))
    response = sato(flat, [s * scale for s in (2.0, 3.0, 4.5)])
    border = round(14 * scale)
    valid = np.zeros(frame.shape, np.bool_)
    valid[border:-border, border:-border] = True
    response *= valid
    if not response.any():
        return np.zeros(frame.shape, np.bool_), response
    low, high = np.percentile(response[valid], (91.0, 96.5))
    mask = hysteresis((response >= low) & (response > 0), (response >= high) & (response > 0))
    mask = keep_components(mask, min_area=300 * scale**2, min_extent=50 * scale)
    return mask, np.minimum(response, np.float32(1))


_METHODS: dict[str, Callable[[npt.NDArray[Any]], tuple[BoolImage, FloatImage]]] = {
    "default": _default,
    "reference": _reference,
}


@overload
def extract_vessels(
    image: npt.NDArray[Any], method: Method = ..., return_vesselness: Literal[False] = ...
) -> BoolImage: ...


@overload
def extract_vessels(
    image: npt.NDArray[Any], method: Method = ..., *, return_vesselness: Literal[True]
) -> tuple[BoolImage, FloatImage]: ...


def extract_vessels(
    image: npt.NDArray[Any], method: Method = "default", return_vesselness: bool = False
) -> BoolImage | tuple[BoolImage, FloatImage]:
    """The vascular anatomy B of one grey frame with dark vessels: (H, W) -> bool (H, W), without any label.

    Args:
        image: (H, W) grey frame: integers over their type's range, or floats in [0, 1].
        method: `default` (ours) or `reference` (the published recipe: Sato at sigmas 1-4 on the 8-bit frame, cut to
            8 bits, 20 px border zeroed, 92nd percentile, the component of the brightest pixel).
        return_vesselness: also return the ridge response the mask was cut from, float32 (H, W) in [0, 1].

    Raises:
        ValueError: if the image is empty, not two-dimensional, not finite or out of range, or `method` is unknown.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}, got {method!r}")
    mask, vesselness = _METHODS[method](np.asarray(image))
    return (mask, vesselness) if return_vesselness else mask
