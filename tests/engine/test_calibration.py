"""Calibration on held-out frames: recovers a known distortion, chooses the best threshold, counts like a loop."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.engine.calibration import Calibration, CalibrationSums, calibrate, platt_scaling
from vasomim.metrics import calibration_error, dice, reliability_counts


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


def test_calibrate__threshold_has_the_best_mean_dice() -> None:
    given = frames(1.0, 0.0)
    found = calibrate(given)

    def score(threshold: float) -> float:
        values = []
        for probability, target in given:
            logit = np.log(probability / (1 - probability))
            values.append(dice(1 / (1 + np.exp(-(found.scale * logit + found.shift))) >= threshold, target))
        return float(np.mean(values))

    best = max(score(threshold) for threshold in np.arange(20, 81) / 100)
    assert score(found.threshold) >= best - 1e-3
    assert found.threshold < 0.5  # Dice's best threshold is half of the best Dice


def test_calibrate__a_perfect_network_needs_nothing() -> None:
    target = np.zeros((32, 32), bool)
    target[10:14] = True
    found = calibrate([(np.where(target, 0.99, 0.01).astype(np.float32), target)])
    assert found.threshold == 0.5
    assert found.scale > 0


def test_calibrate__a_network_that_is_wrong_is_not_turned_round() -> None:
    target = np.zeros((32, 32), bool)
    target[10:14] = True
    found = calibrate([(np.where(target, 0.2, 0.6).astype(np.float32), target)])
    assert (found.scale, found.shift) == (1.0, 0.0)


def test_calibrate__needs_a_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        CalibrationSums().fit()


def test_platt_scaling__constant_logits_give_the_share() -> None:
    scale, shift = platt_scaling(np.array([0.0]), np.array([100.0]), np.array([20.0]))
    assert 1 / (1 + np.exp(-shift)) == pytest.approx(0.2, abs=1e-3)
    assert scale == pytest.approx(1)
