"""Connected components of masks."""

from __future__ import annotations

import cv2
import numpy as np

from vasomim.types import BoolImage


def component_at(mask: BoolImage, seed: tuple[int, int], connectivity: int = 4) -> BoolImage:
    """The component that holds the pixel `seed` = (row, column); empty where that pixel is not set.

    Raises:
        ValueError: if `mask` is not bool (H, W) or `connectivity` not 4 or 8.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"mask must be a bool array (H, W), got {mask.dtype} of shape {mask.shape}")
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)
    label = labels[seed]
    return np.asarray(labels == label) if label else np.zeros_like(mask)
