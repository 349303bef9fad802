"""Whole frames: aspect ratio kept, empty borders left out, batches of one shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_tools import frame

from vasomim.inference.whole import as_fitted, fitted_shape, predict_whole
from vasomim.types import FloatImage

Windows = np.ndarray


def image_of(height: int, width: int, seed: int = 0) -> FloatImage:
    return np.asarray(frame(height, width, seed) / np.float32(255), np.float32)


def darkness(windows: Windows) -> Windows:
    return 1 - windows


@pytest.mark.parametrize("size", [32, 100, 224, 512])
def test_fitted_shape__of_a_square_is_the_size_exactly(size: int) -> None:
    assert fitted_shape((300, 300), size) == (size, size)


@given(height=st.integers(32, 2000), width=st.integers(32, 2000), size=st.sampled_from([224, 416, 512]))
def test_fitted_shape__keeps_ratio_and_pixels_to_half_a_step(height: int, width: int, size: int) -> None:
    stretch = np.sqrt(height / width)
    found = fitted_shape((height, width), size)
    for side, wanted in zip(found, (size * stretch, size / stretch), strict=True):
        assert side % 32 == 0
        assert abs(side - wanted) <= max(16, 32 - wanted)


def test_as_fitted__shows_a_disc_round() -> None:
    y, x = np.mgrid[:288, :512]
    disc = (np.hypot(y - 143.5, x - 255.5) < 80).astype(np.float32)
    seen = as_fitted(disc + np.float32(0.1) * image_of(288, 512), 256) > 0.5
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("shape", [(64, 64), (48, 90), (200, 70)])
@pytest.mark.parametrize("border", [((30, 10), (0, 0)), ((0, 0), (25, 40)), ((9, 9), (9, 9))])
def test_predict_whole__does_not_see_what_was_put_around(
    shape: tuple[int, int], border: tuple[tuple[int, int], ...]
) -> None:
    image = image_of(*shape)
    padded = np.pad(image, border)
    bare, framed = predict_whole([image], darkness, 64)[0], predict_whole([padded], darkness, 64)[0]
    assert framed.shape == padded.shape
    np.testing.assert_array_equal(framed, np.pad(bare, border))


def test_predict_whole__finishes_what_is_inside_alone() -> None:
    image = np.pad(image_of(64, 64), 8)
    found = predict_whole([image], darkness, 64, finish=lambda inside: np.full_like(inside, 0.25))[0]
    np.testing.assert_array_equal(found, np.pad(np.full((64, 64), 0.25, np.float32), 8))


def test_predict_whole__groups_frames_by_shape_and_keeps_their_order() -> None:
    images = [image_of(64, 64, 1), image_of(40, 90, 2), image_of(64, 64, 3), image_of(80, 80, 4), image_of(90, 40, 5)]
    seen: list[tuple[int, ...]] = []

    def predict(windows: Windows) -> Windows:
        seen.append(windows.shape)
        return darkness(windows)

    together = predict_whole(images, predict, 64, batch_size=4)
    assert seen == [(3, 64, 64), (1, 32, 96), (1, 96, 32)]
    for image, found in zip(images, together, strict=True):
        np.testing.assert_array_equal(found, predict_whole([image], darkness, 64)[0])


def test_predict_whole__of_nothing_is_nothing() -> None:
    assert predict_whole([], darkness, 64) == []
