"""Probabilities that mean what they say, and the mask with the best Dice, from frames that were held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from vasomim.ops.hysteresis import Cut, Peaks, Sizes, kept, pieces
from vasomim.types import BoolImage, FloatImage

Counts = npt.NDArray[np.float64]
Frames = Iterable[tuple[FloatImage, BoolImage]]
"""Probability (H, W) in [0, 1] and label (H, W) of each."""
Rule = Callable[[Peaks, Sizes], BoolImage]
"""Which pieces stay, see `ops.hysteresis.kept`."""

LIMIT = 16.0
"""Largest logit told apart: probabilities nearer to 0 or 1 than 1e-7 count as that."""
BINS = 1600
_HOLD = 1e-4
THRESHOLDS = np.arange(20, 81, 2) / 100
HIGH_THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Calibration:
    """p' = sigmoid(scale * logit(p) + shift) (Platt 1999)."""

    scale: float = 1.0
    shift: float = 0.0


def calibrate(frames: Frames) -> Calibration:
    """The scaling with the smallest cross-entropy over all pixels of frames that nothing was trained on.

    Raises:
        ValueError: there is none.
    """
    pixels = np.zeros((2, BINS))  # by logit: all, and those of vessel
    for probability, target in frames:
        place = _bins_of(probability.ravel())
        pixels += [np.bincount(place[chosen], minlength=BINS) for chosen in (slice(None), target.ravel())]
    if not pixels.any():
        raise ValueError("no frame was given; hold some out")
    scale, shift = platt_scaling(_centres(), pixels[0], pixels[1])
    # Where the network knows nothing, its order must not be turned round.
    return Calibration(scale, shift) if scale > 0 else Calibration()


def choose_cut(frames: Frames) -> Cut:
    """The thresholds with the best mean Dice, on a grid; of several, the fewest pieces lost, then nearest to one half.

    Raises:
        ValueError: there is no frame.
    """
    scores = [dice_of_cuts(probability, target) for probability, target in frames]
    if not scores:
        raise ValueError("no frame was given; hold some out")
    mean = np.mean(scores, axis=0)
    rows, columns = np.nonzero(mean >= mean.max() - 1e-9)
    best = min(zip(columns, np.abs(THRESHOLDS[rows] - 0.5), rows, strict=True))
    return Cut(float(THRESHOLDS[best[2]]), HIGH_THRESHOLDS[best[0]])


def dice_of_cuts(probability: FloatImage, target: BoolImage) -> Counts:
    """Dice of a frame, (THRESHOLDS, HIGH_THRESHOLDS); 1 where both masks are empty."""
    return dice_of_rules(probability, target, [partial(kept, high=high) for high in HIGH_THRESHOLDS])


def dice_of_rules(probability: FloatImage, target: BoolImage, rules: Sequence[Rule]) -> Counts:
    """Dice of a frame, (THRESHOLDS, rules); 1 where both masks are empty."""
    return np.stack([_dice_at(probability, target, float(threshold), rules) for threshold in THRESHOLDS])


def _dice_at(probability: FloatImage, target: BoolImage, threshold: float, rules: Sequence[Rule]) -> Counts:
    above = Cut(threshold)(probability)
    labels, peaks, sizes = pieces(probability, above)
    stays = np.stack([rule(peaks, sizes) for rule in rules])
    size, right = stays @ sizes, stays @ np.bincount(labels[above & target], minlength=len(sizes))
    total = size + np.count_nonzero(target)
    return np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)


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
