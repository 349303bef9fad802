"""White level of frames whose values were stored in more bits than they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FULL_SCALES = (255, 1023, 4095, 16383, 65535)
"""Full scale of 8, 10, 12, 14 and 16 bits, all of which are stored in 16."""

_STRAY = 1000
"""One pixel in so many may lie above the white level: detectors have hot pixels."""


def full_scale(values: npt.NDArray[Any]) -> int:
    """The smallest of `FULL_SCALES` that no more than one value in a thousand exceeds.

    Args:
        values: not negative, at most 65535.
    """
    allowed = values.size // _STRAY
    return next(scale for scale in FULL_SCALES if np.count_nonzero(values > scale) <= allowed)


def as_share(values: npt.NDArray[Any], scale: int) -> npt.NDArray[np.float32]:
    """Values divided by the white level; what lies above it is white: float32 in [0, 1]."""
    share: npt.NDArray[np.float32] = values.astype(np.float32) / np.float32(scale)
    return np.minimum(share, 1, out=share)
