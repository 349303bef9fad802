"""Hysteresis against scipy's labelling, and what must hold of any probability map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from vasomim.ops.hysteresis import Cut

maps = arrays.arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=16))


def reference(probability: np.ndarray, low: float, high: float) -> np.ndarray:
    """Piece by piece."""
    labels, count = ndimage.label(probability >= low, np.ones((3, 3)))
    pieces = [labels == label for label in range(1, count + 1)]
    mask = np.zeros(probability.shape, bool)
    for piece in pieces:
        if high <= low or probability[piece].max() >= high or piece.sum() >= 0.2 * max(p.sum() for p in pieces):
            mask |= piece
    return mask


@given(maps)
def test_cut__is_what_a_loop_over_pieces_finds(probability: np.ndarray) -> None:
    for low, high in ((0.3, 0.6), (0.5, 0.95), (0.4, 0.2), (0.25, 1.0)):
        np.testing.assert_array_equal(Cut(low, high)(probability), reference(probability, low, high))


@given(maps)
def test_cut__lies_between_the_two_thresholds(probability: np.ndarray) -> None:
    mask = Cut(0.4, 0.8)(probability)
    assert not (mask & (probability < 0.4)).any()
    assert mask[probability >= 0.8].all()


@pytest.mark.parametrize("high", [0.0, 0.4])
def test_cut__a_high_threshold_below_the_other_changes_nothing(high: float) -> None:
    probability = np.random.default_rng(0).random((40, 50), np.float32)
    np.testing.assert_array_equal(Cut(0.4, high)(probability), probability >= np.float32(0.4))


def test_cut__drops_specks_and_keeps_the_faint_end_of_a_vessel() -> None:
    probability = np.zeros((20, 40), np.float32)
    probability[10, 5:20], probability[10, 20:30], probability[3, 3] = 0.95, 0.5, 0.7
    mask = Cut(0.4, 0.9)(probability)
    assert mask[10, 5:30].all()
    assert mask.sum() == 25


def test_cut__keeps_large_pieces_of_a_tree_that_is_nowhere_sure() -> None:
    probability = np.zeros((20, 60), np.float32)
    probability[5, 5:45], probability[15, 5:15], probability[10, 50:53] = 0.5, 0.6, 0.7
    mask = Cut(0.4, 0.9)(probability)
    assert mask[5, 5:45].all()
    assert mask[15, 5:15].all()
    assert not mask[10].any()


def test_cut__nothing_above_the_threshold_is_an_empty_mask() -> None:
    assert not Cut(0.4, 0.9)(np.full((8, 8), 0.1, np.float32)).any()
