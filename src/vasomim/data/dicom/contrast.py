"""Which frame of a run shows most vessels filled with contrast agent."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from vasomim.ops.vesselness import sato
from vasomim.types import FloatImage

SIDE = 256
"""Pixels of the longer side at which frames are compared; a quarter of the work of 512, and less noise."""
SIGMA = 2.0
"""Scale of the ridges in those pixels: vessels of about 4 to 10 pixels in a frame of 512."""
PERCENTILE = 90.0
"""Vessels and their flanks are about a tenth of a filled frame. Much higher percentiles look at the darkest tenth of
that alone, where the catheter lies in every frame; the mean looks at noise."""


def contrast_score(image: FloatImage) -> float:
    """How much of a frame is dark, vessel-like ridge: the 90th percentile of Sato's tubeness.

    Still structures (ribs, diaphragm, catheter, wires) answer in every frame of a run alike, so that the score compares
    frames of one run, not frames of two.

    Args:
        image: (H, W) in [0, 1], vessels dark.
    """
    scale = SIDE / max(image.shape)
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    return float(np.percentile(sato(image, sigmas=(SIGMA,)), PERCENTILE))


def best_frame(images: Iterable[FloatImage]) -> int:
    """Position of the frame with the highest `contrast_score`, the first of equals; one frame is held at a time.

    Raises:
        ValueError: no frame.
    """
    scores = [contrast_score(image) for image in images]
    return int(np.argmax(scores))
