"""Sliding windows: what holds for any network that sees one pixel at a time holds for the blend."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.inference.sliding import slide

SHAPES = [(32, 32), (40, 57), (16, 90), (7, 9), (1, 50)]


def frames(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random(shape, dtype=np.float32) for shape in SHAPES]


def pointwise(windows: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(4 - 8 * windows)), np.float32)


def looks_around(windows: np.ndarray) -> np.ndarray:
    """Each pixel minus the mean of its window: depends on where the window lies."""
    return np.asarray(windows - windows.mean((1, 2), keepdims=True), np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_slide__pointwise_network_equals_the_whole_frame(overlap: float) -> None:
    images = frames()
    for image, found in zip(images, slide(images, pointwise, 16, overlap), strict=True):
        assert found.shape == image.shape
        np.testing.assert_allclose(found, pointwise(image), atol=1e-6)


def test_slide__constant_stays_constant() -> None:
    images = [np.full(shape, 0.3, np.float32) for shape in SHAPES]
    for found in slide(images, looks_around, 16, 0.25):
        np.testing.assert_allclose(found, 0, atol=1e-6)
    for found in slide(images, lambda windows: np.full_like(windows, 0.7), 16, 0.25):
        np.testing.assert_allclose(found, 0.7, atol=1e-6)


def test_slide__does_not_depend_on_batches_or_neighbours() -> None:
    images = frames()
    together = slide(images, looks_around, 16, 0.25, batch_size=7)
    for image, found in zip(images, together, strict=True):
        (alone,) = slide([image], looks_around, 16, 0.25, batch_size=1)
        np.testing.assert_array_equal(found, alone)


def test_slide__fills_batches_across_frames() -> None:
    sizes: list[int] = []

    def predict(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return windows

    slide([np.zeros((32, 32), np.float32)] * 3, predict, 16, 0.0, batch_size=5)
    assert sizes == [5, 5, 2]


def test_slide__shows_no_seams() -> None:
    """Windows that disagree by a constant each are blended without a step as large as their difference."""
    level = iter(range(1000))

    def disagreeing(windows: np.ndarray) -> np.ndarray:
        return np.stack([np.full(window.shape, next(level) % 2, np.float32) for window in windows])

    (found,) = slide([np.zeros((64, 400), np.float32)], disagreeing, 64, 0.5)
    assert np.ptp(found) > 0.5
    assert np.abs(np.diff(found, axis=1)).max() < 0.15


def test_slide__no_frames() -> None:
    assert slide([], pointwise, 16) == []
