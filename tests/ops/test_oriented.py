"""Ridges averaged along their direction."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.ops.hessian import hessian
from vasomim.ops.oriented import along_ridges


def line(angle: float, size: int = 81) -> np.ndarray:
    """A straight dark line through the middle, `angle` radians from the rows."""
    y, x = np.mgrid[:size, :size] - size // 2
    return -np.exp(-0.5 * ((y * np.cos(angle) - x * np.sin(angle)) / 2) ** 2).astype(np.float32)


@pytest.mark.parametrize("k", range(8))
def test_along_ridges__of_a_straight_line_is_its_curvature(k):
    second = hessian(line(k * np.pi / 8), 2.0)
    expected = 4 * 2 / np.hypot(2, 2) ** 3
    assert along_ridges(*second, half_length=16, steps=4)[40, 40] == pytest.approx(expected, rel=0.06)


def test_along_ridges__damps_a_spot_more_than_a_line():
    y, x = np.mgrid[-40:41, -40:41]
    spot = -np.exp(-0.5 * (x**2 + y**2) / 4).astype(np.float32)
    short, far = (along_ridges(*hessian(spot, 2.0), half_length=n, steps=4)[40, 40] for n in (1, 20))
    assert far < 0.3 * short


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_along_ridges__turns_with_the_image(turns):
    frame = np.random.default_rng(0).random((40, 50), np.float32)
    straight = along_ridges(*hessian(frame, 2.0), half_length=9, steps=3)
    turned = along_ridges(*hessian(np.rot90(frame, turns).copy(), 2.0), half_length=9, steps=3)
    np.testing.assert_allclose(turned, np.rot90(straight, turns), atol=1e-5)


def test_along_ridges__is_zero_on_bright_lines_and_constants():
    assert not along_ridges(*hessian(np.zeros((20, 20), np.float32), 2.0), half_length=5, steps=2).any()
    on_bright = along_ridges(*hessian(-line(0.0), 2.0), half_length=5, steps=2)[40, 40]
    assert on_bright < 0.1 * along_ridges(*hessian(line(0.0), 2.0), half_length=5, steps=2)[40, 40]


def test_along_ridges__works_beyond_the_image():
    flat = np.ones((3, 4), np.float32)
    assert along_ridges(flat, 0 * flat, flat, half_length=30, steps=3).shape == (3, 4)


def test_along_ridges__refuses_counts_below_one():
    flat = np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match="steps=0"):
        along_ridges(flat, flat, flat, half_length=3, steps=0)
