"""Probabilities that mean what they say, and the threshold with the best Dice, from frames that were held out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from vasomim.types import BoolImage, FloatImage

Counts = npt.NDArray[np.float64]

LIMIT = 16.0
"""Largest logit told apart: probabilities nearer to 0 or 1 than 1e-7 count as that."""
BINS = 1600
_HOLD = 1e-4
THRESHOLDS = np.arange(20, 81) / 100


@dataclass(frozen=True, slots=True)
class Calibration:
    """p' = sigmoid(scale * logit(p) + shift) (Platt 1999), and the threshold on p' from which a pixel is vessel."""

    scale: float = 1.0
    shift: float = 0.0
    threshold: float = 0.5


@dataclass
class CalibrationSums:
    """What frames seen so far add up to, 26 kB a frame."""

    pixels: Counts = field(default_factory=lambda: np.zeros((2, BINS)))
    """Pixels by logit: all, and those of vessel."""
    frames: list[Counts] = field(default_factory=list)
    """Of each frame, the same, counted from the top bin down, and its vessel pixels last; (2, BINS) each."""

    def add(self, probability: FloatImage, target: BoolImage) -> None:
        """Count a frame: (H, W) in [0, 1], (H, W)."""
        place = _bins_of(probability.ravel())
        both = np.stack([np.bincount(place[chosen], minlength=BINS) for chosen in (slice(None), target.ravel())])
        self.pixels += both
        self.frames.append(both[:, ::-1].cumsum(1)[:, ::-1].astype(np.float64))

    def fit(self) -> Calibration:
        """The scaling with the smallest cross-entropy over all pixels, then the threshold with the best mean Dice.

        Raises:
            ValueError: no frame was added.
        """
        if not self.frames:
            raise ValueError("no frame was added; hold some out")
        scale, shift = platt_scaling(_centres(), self.pixels[0], self.pixels[1])
        if scale <= 0:  # the network knows nothing: its order must not be turned round
            scale, shift = 1.0, 0.0
        return Calibration(scale, shift, self._threshold(scale, shift))

    def _threshold(self, scale: float, shift: float) -> float:
        """On a grid; where several are as good, that nearest to one half."""
        logits = (np.log(THRESHOLDS / (1 - THRESHOLDS)) - shift) / scale
        first = np.clip(np.searchsorted(_centres(), logits), 0, BINS - 1)
        dice = np.mean([_dice(frame, first) for frame in self.frames], axis=0)
        best = np.flatnonzero(dice >= dice.max() - 1e-9)
        return float(THRESHOLDS[best[np.abs(THRESHOLDS[best] - 0.5).argmin()]])


def calibrate(frames: Iterable[tuple[FloatImage, BoolImage]]) -> Calibration:
    """Calibration from frames that nothing was trained on: probability (H, W) in [0, 1] and label (H, W) of each.

    Raises:
        ValueError: there is none.
    """
    sums = CalibrationSums()
    for probability, target in frames:
        sums.add(probability, target)
    return sums.fit()


def platt_scaling(logits: Counts, pixels: Counts, vessel: Counts) -> tuple[float, float]:
    """Scale and shift of logits that minimise the mean cross-entropy; a scale that nothing speaks for stays 1.

    Args:
        logits: (K,) values.
        pixels: (K,) pixels of each value.
        vessel: (K,) those of them that are vessel.
    """
    total = pixels.sum()

    def cost(solution: Counts) -> tuple[float, Counts]:
        scale, shift = solution
        changed = scale * logits + shift
        entropy = pixels * np.logaddexp(0, changed) - vessel * changed
        residual = pixels * special.expit(changed) - vessel
        slope = np.array([(residual * logits).sum() / total + _HOLD * (scale - 1), residual.sum() / total])
        return float(entropy.sum() / total + _HOLD * (scale - 1) ** 2 / 2), slope

    found = optimize.minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return float(found[0]), float(found[1])


def _centres() -> Counts:
    width = 2 * LIMIT / BINS
    return np.linspace(-LIMIT + width / 2, LIMIT - width / 2, BINS)


def _bins_of(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    safe = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.clip((np.log(safe / (1 - safe)) + LIMIT) / (2 * LIMIT) * BINS, 0, BINS - 1).astype(np.int64)


def _dice(frame: Counts, first: npt.NDArray[np.int64]) -> Counts:
    """Dice of a frame where bins from `first` on are vessel; 1 where both are empty."""
    found, right, target = frame[0, first], frame[1, first], frame[1, 0]
    return np.where(found + target > 0, 2 * right / np.maximum(found + target, 1), 1.0)
