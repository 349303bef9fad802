"""From a probability map to a mask: two thresholds, so that faint specks go and faint ends of sure vessels stay."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage, FloatImage

Peaks = npt.NDArray[np.float32]
Sizes = npt.NDArray[np.int64]

LARGE = 0.2
"""A piece with this share of the largest one's pixels is no speck: a tree in poor contrast stays whole."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Hysteresis thresholding (Canny, IEEE TPAMI 8(6), 1986) that spares large pieces."""

    threshold: float = 0.5
    """A pixel may be vessel where its probability is at least this."""
    high_threshold: float = 0.0
    """Of the pieces of such pixels (8-connected) those stay that reach this somewhere, and those with at least `LARGE`
    of the largest one's pixels; at or below `threshold` all stay."""

    def __call__(self, probability: FloatImage) -> BoolImage:
        """Vessel mask (H, W) of a probability (H, W) in [0, 1]."""
        above = np.asarray(probability >= np.float32(self.threshold))
        if self.high_threshold <= self.threshold or not above.any():
            return above
        labels, peaks, sizes = pieces(probability, above)
        return np.asarray(kept(peaks, sizes, self.high_threshold)[labels])


def pieces(probability: FloatImage, above: BoolImage) -> tuple[npt.NDArray[np.int32], Peaks, Sizes]:
    """Label of every pixel, (H, W), 0 outside of `above`; highest probability and pixels of every piece, (pieces + 1,).

    Entry 0 stands for what lies outside, and is 0 in both.
    """
    count, found = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    labels: npt.NDArray[np.int32] = np.asarray(found, np.int32)
    inside = labels[above]
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, inside, probability[above])
    return labels, peaks, np.bincount(inside, minlength=count)


def kept(peaks: Peaks, sizes: Sizes, high: float, large: float = LARGE) -> BoolImage:
    """Which pieces stay, (pieces + 1,): those that reach `high`, those of a share `large`; entry 0 never does."""
    stays = (peaks >= np.float32(high)) | (sizes >= large * sizes.max())
    stays[0] = False
    return np.asarray(stays)
