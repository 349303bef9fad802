"""Whole frames at another size: exact area averages."""

import cv2
import numpy as np
import pytest

from vasomim.ops.resize import average_area, nearest_index, resize_area, resize_mask


def coverage(old: int, new: int) -> np.ndarray:
    """(new, old) share of each old pixel in each new one."""
    edges = np.arange(new + 1) * (old / new)
    low = np.maximum(edges[:-1, None], np.arange(old)[None])
    high = np.minimum(edges[1:, None], np.arange(old)[None] + 1)
    return np.clip(high - low, 0, None) * (new / old)


@pytest.mark.parametrize(("shape", "size"), [((512, 512), 224), ((96, 128), 40), ((64, 64), 32), ((50, 50), 50)])
def test_resize_area__is_the_mean_over_the_covered_area(shape: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = coverage(shape[0], size) @ image @ coverage(shape[1], size).T
    np.testing.assert_allclose(resize_area(image, size), expected, atol=2e-5)


def test_resize_mask__is_true_where_more_than_half_is_vessel() -> None:
    mask = np.random.default_rng(1).random((512, 512)) < 0.5
    area = coverage(512, 224) @ mask @ coverage(512, 224).T
    clear = np.abs(area - 0.5) > 1e-4
    assert np.array_equal(resize_mask(mask, 224)[clear], (area > 0.5)[clear])


def test_resize_mask__half_covered_pixels_are_background() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, ::2] = True
    assert not resize_mask(mask, 4).any()


@pytest.mark.parametrize("size", [1, 3, 8, 21])
def test_resize__constant_stays_constant(size: int) -> None:
    np.testing.assert_allclose(resize_area(np.full((8, 9), 0.3, np.float32), size), 0.3, rtol=1e-6)
    assert resize_mask(np.ones((8, 9), bool), size).all()
    assert not resize_mask(np.zeros((8, 9), bool), size).any()


def test_resize__same_size_changes_nothing() -> None:
    mask = np.random.default_rng(2).random((31, 31)) < 0.3
    assert np.array_equal(resize_mask(mask, 31), mask)


def test_resize__bad_input() -> None:
    with pytest.raises(ValueError, match="size must be at least 1"):
        resize_area(np.zeros((4, 4), np.float32), 0)
    with pytest.raises(ValueError, match="one \\(H, W\\) image"):
        resize_area(np.zeros((1, 4, 4), np.float32), 2)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(64, 64, 32), (61, 97, 32), (40, 33, 32), (32, 32, 32), (7, 9, 1)]
)
def test_average_area__is_opencvs(height: int, width: int, size: int) -> None:
    image = np.random.default_rng(0).random((height, width), np.float32)
    expected = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(average_area(image, size), expected, atol=1e-6)
    np.testing.assert_allclose(average_area(image[::-1, ::-1], size)[::-1, ::-1], expected, atol=1e-6)


def test_average_area__keeps_the_mean_and_refuses_to_grow() -> None:
    image = np.random.default_rng(1).random((53, 71), np.float32)
    assert average_area(image, 20).mean() == pytest.approx(image.mean(), abs=1e-6)
    with pytest.raises(ValueError, match="got 53 x 71 to 60"):
        average_area(image, 60)


def test_nearest_index__is_opencvs_but_for_ties() -> None:
    for length in range(1, 60):
        row = np.tile(np.arange(length, dtype=np.uint16), (length, 1))
        for size in range(1, 60, 7):
            expected = cv2.resize(row, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)[0]
            is_tie = (2 * np.arange(size) + 1) * length % (2 * size) == 0
            assert ((nearest_index(length, size) == expected) | is_tie).all()
    assert nearest_index(4, 2).tolist() == [1, 3]
