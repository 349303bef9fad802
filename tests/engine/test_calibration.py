"""Calibration on held-out frames: recovers a known distortion, chooses the best threshold, counts like a loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vasomim.engine.calibration import (
    HIGH_THRESHOLDS,
    THRESHOLDS,
    Calibration,
    calibrate,
    choose_cut,
    dice_of_cuts,
    platt_scaling,
)
from vasomim.metrics import calibration_error, dice, reliability_counts
from vasomim.ops.hysteresis import Cut


def frames(scale: float, shift: float, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames whose vessels are drawn from sigmoid(scale * logit + shift) of the probability given."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        logit = rng.normal(-1, 2, (128, 128))
        truth = rng.random(logit.shape) < 1 / (1 + np.exp(-(scale * logit + shift)))
        made.append(((1 / (1 + np.exp(-logit))).astype(np.float32), truth))
    return made


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_calibrate__recovers_a_known_distortion(scale: float, shift: float) -> None:
    found = calibrate(frames(scale, shift))
    assert found.scale == pytest.approx(scale, rel=0.05)
    assert found.shift == pytest.approx(shift, abs=0.08)


def test_calibrate__lowers_the_calibration_error() -> None:
    given = frames(0.4, -0.5)
    found = calibrate(given)

    def error(change: Calibration) -> float:
        counts = np.zeros((15, 3))
        for probability, target in given:
            logit = np.log(probability / (1 - probability))
            counts += reliability_counts(
                (1 / (1 + np.exp(-(change.scale * logit + change.shift)))).astype(np.float32), target, 15
            )
        return calibration_error(counts)

    assert error(found) < 0.01 < 0.05 < error(Calibration())


def test_choose_cut__has_the_best_mean_dice() -> None:
    given = [(gaussian_filter(probability, 3), target) for probability, target in frames(1.0, 0.0)]
    cut = choose_cut(given)

    def score(cut: Cut) -> float:
        return float(np.mean([dice(cut(probability), target) for probability, target in given]))

    best = max(score(Cut(float(low), high)) for low in THRESHOLDS for high in HIGH_THRESHOLDS)
    assert score(cut) == pytest.approx(best)
    assert cut.threshold < 0.5  # Dice's best threshold is half of the best Dice


def test_dice_of_cuts__is_the_dice_of_each_mask() -> None:
    [(noise, target)] = frames(1.0, 0.0, count=1)
    probability = gaussian_filter(noise, 3)
    expected = [[dice(Cut(float(low), high)(probability), target) for high in HIGH_THRESHOLDS] for low in THRESHOLDS]
    np.testing.assert_allclose(dice_of_cuts(probability, target), expected)
    empty = np.zeros_like(target)
    assert (dice_of_cuts(np.zeros_like(probability), empty) == 1).all()
    assert (dice_of_cuts(np.zeros_like(probability), target) == 0).all()


def test_choose_cut__specks_apart_from_the_vessel_call_for_a_high_threshold() -> None:
    target = np.zeros((64, 64), bool)
    target[30:34] = True
    probability = np.where(target, 0.95, 0.01).astype(np.float32)
    probability[5:30:5, 5:60:5] = 0.75
    probability[30:34, 40:] = 0.6  # fainter than the specks
    assert choose_cut([(probability, target)]).high_threshold == 0.8


def test_calibrate__a_perfect_network_needs_nothing() -> None:
    target = np.zeros((32, 32), bool)
    target[10:14] = True
    perfect = [(np.where(target, 0.99, 0.01).astype(np.float32), target)]
    assert calibrate(perfect).scale > 0
    assert choose_cut(perfect) == Cut(0.5, 0.0)


def test_calibrate__a_network_that_is_wrong_is_not_turned_round() -> None:
    target = np.zeros((32, 32), bool)
    target[10:14] = True
    found = calibrate([(np.where(target, 0.2, 0.6).astype(np.float32), target)])
    assert (found.scale, found.shift) == (1.0, 0.0)


def test_calibrate__needs_a_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        calibrate([])
    with pytest.raises(ValueError, match="no frame"):
        choose_cut([])


def test_platt_scaling__constant_logits_give_the_share() -> None:
    scale, shift = platt_scaling(np.array([0.0]), np.array([100.0]), np.array([20.0]))
    assert 1 / (1 + np.exp(-shift)) == pytest.approx(0.2, abs=1e-3)
    assert scale == pytest.approx(1)
