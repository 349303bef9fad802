"""Masks of several levels: only those above half of the largest count as vessel, and what that loses is said."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.frames import Pixels, above_half

FEW_LEVELS = 32
"""Up to so many a mask is taken for one of classes; edges made smooth and JPEG give more, or none away from edges."""
LOST_SHARE = 0.05
"""Of what is drawn in a mask of few levels; less are stray pixels."""
NOISE, STRONG_NOISE = 1 / 26, 1 / 8
"""Of the largest level: what JPEG leaves around vessels in few levels (less than the first of 25 classes), in many."""
_SHOWN = 5
_log = logging.getLogger(__name__)


class LostLevels:
    """Warns of the first mask of a set that loses what is drawn in it; one line a process."""

    def __init__(self) -> None:
        self._told = False

    def look(self, values: Pixels, name: str) -> None:
        """Look at a mask.

        Args:
            values: (H, W), from `mask_values`.
            name: what the message calls it.
        """
        share = 0.0 if self._told else lost_share(values)
        if share == 0:
            return
        self._told = True
        _log.warning(
            "%s holds the levels %s; what exceeds %g, half of the largest, counts as vessel, and %.0f %% of what is "
            "drawn does not: write masks of 0 and 255, or of 0 and 1 (other masks of this set may be alike)",
            name,
            _levels(values),
            float(values.max()) / 2,
            100 * share,
        )


def lost_share(values: Pixels) -> float:
    """Share of what is drawn in a mask (H, W) that does not count as vessel; 0 where that is edges, noise or strays."""
    levels, counts = _histogram(values)
    if len(levels) <= 2:
        return 0.0
    few, high = len(levels) <= FEW_LEVELS, float(levels[-1])
    low = levels <= high / 2
    background = float(levels[np.argmax(counts * low)])
    least = max(background, high * (NOISE if few else STRONG_NOISE))
    between, above = int(counts[low & (levels > least)].sum()), int(counts[~low].sum())
    allowed = LOST_SHARE if few else 0.5
    if between <= allowed * (between + above):
        return 0.0  # most masks end here, and none has to be searched for edges
    lost = int(np.count_nonzero((values > least) & ~_near(above_half(values))))
    return lost / (between + above) if lost > allowed * (between + above) else 0.0


def _near(vessel: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Vessel pixels and those within two of them: edges, smooth ones too."""
    return cv2.dilate(vessel.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)


def _histogram(values: Pixels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The levels in a mask, rising, and how many pixels have each."""
    if values.dtype == np.float32:
        levels, counts = np.unique(values, return_counts=True)
        return levels.astype(np.float64), counts
    bins = 1 << 8 * values.itemsize
    # np.bincount takes ten times as long.
    counts = cv2.calcHist([values], [0], None, [bins], [0, bins]).ravel().astype(np.int64)
    found = np.flatnonzero(counts)
    return found.astype(np.float64), counts[found]


def _levels(values: Pixels) -> str:
    """The commonest levels and the largest."""
    levels, counts = _histogram(values)
    shown = sorted({*levels[np.argsort(-counts)[:_SHOWN]].tolist(), float(levels[-1])})
    more = f" ({len(levels)} in all)" if len(shown) < len(levels) else ""
    return ", ".join(f"{level:g}" for level in shown) + more
