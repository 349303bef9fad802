"""Smoothing over time: what it leaves alone, what it takes away, how much it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vasomim.inference.temporal import RunFrame, smooth
from vasomim.types import FloatImage, Prediction

SHAPE = (48, 56)


def still(seed: int = 0) -> FloatImage:
    noise = np.random.default_rng(seed).random(SHAPE).astype(np.float32)
    return np.asarray(0.4 + 0.2 * noise, np.float32)


def frame(index: int, probability: FloatImage, image: FloatImage | None = None, blank: bool = False) -> RunFrame:
    meta = {"threshold": 0.5, "high_threshold": 0.0, **({"warning": "blank"} if blank else {})}
    mask = probability >= 0.5
    return RunFrame(index, still() if image is None else image, Prediction(probability, mask, meta))


def constant(value: float) -> FloatImage:
    return np.full(SHAPE, value, np.float32)


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("radius", [0, 1, 3, 9])
def test_smooth__leaves_a_still_run_as_it_is(length: int, radius: int) -> None:
    probability = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    found = list(smooth((frame(k, probability) for k in range(length)), radius))
    assert [item.index for item in found] == list(range(length))
    for item in found:
        np.testing.assert_allclose(item.prediction.probability, probability, atol=1e-5)
        assert item.prediction.mask.dtype == np.bool_


def test_smooth__radius_0_passes_frames_through() -> None:
    frames = [frame(k, constant(k / 5)) for k in range(5)]
    assert all(a is b for a, b in zip(smooth(frames, 0), frames, strict=True))


def test_smooth__takes_away_what_one_frame_alone_shows() -> None:
    frames = [frame(k, constant(0.9 if k == 3 else 0.1)) for k in range(7)]
    found = [float(item.prediction.probability[20, 20]) for item in smooth(frames, 1)]
    assert found[3] == pytest.approx(0.5 * 0.9 + 0.5 * 0.1, abs=1e-3)
    assert found[2] == pytest.approx(0.75 * 0.1 + 0.25 * 0.9, abs=1e-3)
    assert found[0] == pytest.approx(0.1, abs=1e-3)
    twice = [float(item.prediction.probability[20, 20]) for item in smooth(frames, 2)]
    assert twice[3] < found[3]


def test_smooth__cuts_masks_by_both_thresholds() -> None:
    probability = constant(0)
    probability[5, 5:15], probability[15, 5] = 0.95, 0.7
    frames = [frame(k, probability) for k in range(3)]
    for each in frames:
        each.prediction.meta["high_threshold"] = 0.9
    for item in smooth(frames, 1):
        np.testing.assert_array_equal(item.prediction.mask, probability > 0.9)


def test_smooth__reads_the_same_backwards() -> None:
    values = [np.random.default_rng(k).random(SHAPE).astype(np.float32) for k in range(6)]
    forth = [item.prediction.probability for item in smooth((frame(k, v) for k, v in enumerate(values)), 2)]
    back = [item.prediction.probability for item in smooth((frame(k, v) for k, v in enumerate(values[::-1])), 2)]
    for a, b in zip(forth, back[::-1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_smooth__blank_frames_stay_and_count_for_nobody() -> None:
    dark = constant(0)
    frames = [frame(k, constant(0.8)) for k in range(3)]
    frames.insert(1, frame(1, dark, dark, blank=True))
    frames = [RunFrame(k, item.image, item.prediction) for k, item in enumerate(frames)]
    found = list(smooth(frames, 1))
    assert not found[1].prediction.mask.any()
    for k in (0, 2, 3):
        np.testing.assert_allclose(found[k].prediction.probability, 0.8, atol=1e-4)


def test_smooth__does_not_borrow_from_a_frame_that_shows_something_else() -> None:
    before, filled = still(), still() - np.float32(0.15)  # contrast has arrived, and is gone
    frames = [frame(0, constant(0.1), before), frame(1, constant(0.9), filled), frame(2, constant(0.1), before)]
    middle = list(smooth(frames, 1))[1].prediction.probability
    assert float(np.median(middle)) > 0.85


def test_smooth__holds_a_window_and_no_more() -> None:
    given = 0

    def frames() -> Iterator[RunFrame]:
        nonlocal given
        for k in range(30):
            given += 1
            yield frame(k, constant(0.5))

    for done, _ in enumerate(smooth(frames(), 2), 1):
        assert given - done <= 2
