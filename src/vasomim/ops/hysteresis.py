"""From a probability map to a mask: two thresholds, so that faint specks go and faint ends of sure vessels stay."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import BoolImage, FloatImage


@dataclass(frozen=True, slots=True)
class Cut:
    """Hysteresis thresholding (Canny, IEEE TPAMI 8(6), 1986)."""

    threshold: float = 0.5
    """A pixel may be vessel where its probability is at least this."""
    high_threshold: float = 0.0
    """Of the pieces of such pixels (8-connected) those stay that reach this somewhere, and the surest one in any case;
    at or below `threshold` all stay."""

    def __call__(self, probability: FloatImage) -> BoolImage:
        """Vessel mask (H, W) of a probability (H, W) in [0, 1]."""
        above = np.asarray(probability >= np.float32(self.threshold))
        if self.high_threshold <= self.threshold or not above.any():
            return above
        labels, peaks = pieces(probability, above)
        return np.asarray(kept(peaks, self.high_threshold)[labels])


def pieces(probability: FloatImage, above: BoolImage) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Label of every pixel, (H, W), 0 outside of `above`; highest probability of every piece, (pieces + 1,)."""
    count, found = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    labels: npt.NDArray[np.int32] = np.asarray(found, np.int32)
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels[above], probability[above])
    return labels, peaks


def kept(peaks: npt.NDArray[np.float32], high: float) -> BoolImage:
    """Which pieces stay, (pieces + 1,): those that reach `high`, else the surest; never what lies outside of all."""
    stays = peaks >= min(high, float(peaks.max()))
    stays[0] = False
    return np.asarray(stays)
