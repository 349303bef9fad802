"""Windows cover the frame, blending never divides by nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.ops.windows import pad_to_window, window_grid, window_starts, window_weights


@given(st.integers(1, 700), st.integers(1, 300), st.floats(0, 0.9))
def test_window_starts__cover_the_side_with_at_least_the_overlap(extra: int, window: int, overlap: float) -> None:
    length = window + extra - 1
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - window
    strides = np.diff(starts)
    assert (strides > 0).all()
    assert (strides <= max(1, np.floor(window * (1 - overlap))) + 1e-9).all()
    assert strides.size == 0 or strides.max() - strides.min() <= 1


def test_window_starts__one_window_where_it_fits_exactly() -> None:
    assert window_starts(224, 224, 0.25).tolist() == [0]
    assert window_starts(512, 224, 0.25).tolist() == [0, 144, 288]


@pytest.mark.parametrize(("length", "window", "overlap"), [(10, 11, 0.2), (10, 0, 0.2), (10, 5, 1.0), (10, 5, -0.1)])
def test_window_starts__refuses(length: int, window: int, overlap: float) -> None:
    with pytest.raises(ValueError, match=r"window|overlap"):
        window_starts(length, window, overlap)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 30), (17, 23)])
def test_window_grid__reaches_every_pixel(height: int, width: int) -> None:
    count = np.zeros((height, width), int)
    for row, column in window_grid(height, width, 8, 0.25):
        count[row : row + 8, column : column + 8] += 1
    assert count.min() >= 1


@pytest.mark.parametrize("window", [1, 2, 7, 224])
def test_window_weights__positive_symmetric_largest_in_the_middle(window: int) -> None:
    weights = window_weights(window)
    assert weights.shape == (window, window)
    assert weights.dtype == np.float32
    assert weights.min() > 1e-8
    assert weights.max() == pytest.approx(1)
    assert weights[window // 2, window // 2] == weights.max()
    for other in (weights[::-1], weights[:, ::-1], weights.T):
        np.testing.assert_allclose(weights, other, rtol=1e-6)


def test_pad_to_window__mirrors_small_frames_and_leaves_large_ones() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    padded, top, left = pad_to_window(image, 5)
    assert padded.shape == (5, 5)
    np.testing.assert_array_equal(padded[top : top + 3, left : left + 4], image)
    np.testing.assert_array_equal(padded[0], padded[2])
    assert pad_to_window(image, 3)[0] is image


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3)])
def test_pad_to_window__much_smaller_frames(shape: tuple[int, int]) -> None:
    padded, _, _ = pad_to_window(np.full(shape, 0.3, np.float32), 16)
    assert padded.shape == (16, 16)
    np.testing.assert_allclose(padded, 0.3)
