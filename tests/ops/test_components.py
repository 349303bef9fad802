"""Connected components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from vasomim.ops.components import component_at, hysteresis, keep_components


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(3).random((40, 50)) < 0.45


@pytest.mark.parametrize("connectivity", [4, 8])
def test_component_at__agrees_with_scipy(noise, connectivity):
    labels, _ = ndimage.label(noise, np.ones((3, 3)) if connectivity == 8 else None)
    for seed in zip(*np.nonzero(noise)[:1], *np.nonzero(noise)[1:], strict=True):
        if labels[seed] % 7 == 1:
            assert np.array_equal(component_at(noise, seed, connectivity), labels == labels[seed])


def test_component_at__is_empty_off_the_mask():
    assert not component_at(np.eye(5, dtype=bool), (0, 1)).any()


def test_component_at__diagonal_neighbours_touch_only_with_eight():
    assert component_at(np.eye(5, dtype=bool), (2, 2), 4).sum() == 1
    assert component_at(np.eye(5, dtype=bool), (2, 2), 8).sum() == 5


def test_keep_components__by_area_and_extent():
    mask = np.zeros((20, 40), bool)
    mask[1, 2:32] = True  # long: 30 pixels
    mask[5:12, 5:12] = True  # compact: 49 pixels
    mask[15, 15] = True
    assert keep_components(mask, min_area=40).sum() == 49
    assert keep_components(mask, min_extent=20).sum() == 30
    assert np.array_equal(keep_components(mask), mask)


def test_hysteresis__keeps_what_holds_a_strong_pixel(noise):
    strong = noise & (np.random.default_rng(4).random(noise.shape) < 0.02)
    labels, _ = ndimage.label(noise, np.ones((3, 3)))
    assert np.array_equal(hysteresis(noise, strong), np.isin(labels, np.unique(labels[strong])) & noise)
    assert not hysteresis(noise, np.zeros_like(noise)).any()


def test_components__refuse_bad_masks():
    with pytest.raises(ValueError, match="bool"):
        keep_components(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="connectivity"):
        keep_components(np.zeros((4, 4), bool), connectivity=6)
    with pytest.raises(ValueError, match="same shape"):
        hysteresis(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
