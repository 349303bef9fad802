"""Burned-in writing: on the frame alone, as often as asked, alike for both renderers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasomim.data.burn_in import burn_in, burn_in_batch, draw_ink

IMAGE = np.full((96, 96), 0.4, np.float32)


def ink_of(seed: int, size: int = 96) -> np.ndarray:
    ink = draw_ink(size, 1.0, np.random.default_rng(seed))
    assert ink is not None
    return ink


def test_draw_ink__zero_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    assert draw_ink(96, 0.0, rng) is None
    assert rng.random() == np.random.default_rng(0).random()


def test_draw_ink__is_as_frequent_as_asked() -> None:
    written = [draw_ink(32, 0.3, np.random.default_rng(seed)) is not None for seed in range(500)]
    assert np.mean(written) == pytest.approx(0.3, abs=0.07)


def test_draw_ink__is_a_function_of_the_generator_with_one_grey_and_little_area() -> None:
    shares = []
    for seed in range(60):
        ink = ink_of(seed)
        np.testing.assert_array_equal(ink, ink_of(seed))
        assert len(set(np.unique(ink)) - {0}) <= 1
        shares.append((ink > 0).mean())
    assert 0.005 < np.mean(shares) < 0.15
    assert len({ink_of(seed).tobytes() for seed in range(10)}) == 10


@pytest.mark.parametrize("size", [1, 2, 7, 416])
def test_draw_ink__any_size(size: int) -> None:
    for seed in range(20):
        assert ink_of(seed, size).shape == (size, size)


def test_burn_in__changes_written_pixels_alone() -> None:
    ink = ink_of(1)
    found = burn_in(IMAGE, ink)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[ink == 0], IMAGE[ink == 0])
    np.testing.assert_array_equal(found[ink > 0], ink[ink > 0] / np.float32(255))
    assert burn_in(IMAGE, None) is IMAGE


def test_burn_in_batch__is_burn_in() -> None:
    inks = [ink_of(1), np.zeros((96, 96), np.uint8), ink_of(2)]
    found = burn_in_batch(torch.from_numpy(np.stack([IMAGE] * 3))[:, None], torch.from_numpy(np.stack(inks)))
    np.testing.assert_array_equal(found[:, 0].numpy(), np.stack([burn_in(IMAGE, ink) for ink in inks]))
