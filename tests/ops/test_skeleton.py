"""Centrelines: equal to scikit-image's to the bit; distances equal to SciPy's."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from skimage import morphology

from vasomim.ops.skeleton import bounding_box, distance_inside, distance_to, nearest_values, skeletonize, width_at

EIGHT = np.ones((3, 3), int)
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24))


def vessel(width: int, angle: float = 0.0, size: int = 96) -> np.ndarray:
    """A straight band, `width` pixels across."""
    y, x = np.mgrid[:size, :size] - size // 2 + (0.0 if width % 2 else 0.5)
    across = x * np.cos(angle) + y * np.sin(angle)
    return np.abs(across) < width / 2


@given(masks)
@settings(max_examples=80, deadline=None)
def test_skeletonize__is_scikit_images_to_the_bit(mask: np.ndarray) -> None:
    assert np.array_equal(skeletonize(mask), morphology.skeletonize(mask))


@given(masks)
@settings(max_examples=80, deadline=None)
def test_skeletonize__is_a_subset_that_keeps_every_component(mask: np.ndarray) -> None:
    skeleton = skeletonize(mask)
    assert skeleton.dtype == np.bool_
    assert not (skeleton & ~mask).any()
    labels, count = ndimage.label(mask, EIGHT)
    assert set(np.unique(labels[skeleton])) == set(range(1, count + 1))


def test_skeletonize__of_a_smaller_box_or_a_larger_frame_is_the_same() -> None:
    mask = vessel(7, 0.4)[:60, :50]
    assert np.array_equal(skeletonize(np.pad(mask, ((9, 3), (0, 20)))), np.pad(skeletonize(mask), ((9, 3), (0, 20))))


def test_skeletonize__empty_mask_is_empty() -> None:
    assert not skeletonize(np.zeros((16, 9), bool)).any()


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4)])
def test_skeletonize__refuses_other_than_two_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="once per frame"):
        skeletonize(np.zeros(shape, bool))


def test_bounding_box__of_corners_and_nothing() -> None:
    mask = np.zeros((9, 12), bool)
    assert bounding_box(mask) is None
    mask[2, 3] = mask[7, 11] = True
    assert bounding_box(mask) == (slice(2, 8), slice(3, 12))


@given(masks)
@settings(max_examples=60, deadline=None)
def test_distance_inside__is_scipys_with_background_beyond_the_border(mask: np.ndarray) -> None:
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    everywhere = np.ones_like(mask)
    np.testing.assert_allclose(distance_inside(mask, everywhere), expected.ravel(), rtol=1e-12)
    np.testing.assert_allclose(distance_inside(mask, mask), expected[mask], rtol=1e-12)


@given(masks.filter(lambda mask: mask.any()))
@settings(max_examples=60, deadline=None)
def test_distance_to__is_scipys(points: np.ndarray) -> None:
    expected = ndimage.distance_transform_edt(~points)
    np.testing.assert_allclose(distance_to(points, np.ones_like(points)), expected.ravel(), rtol=1e-12)
    np.testing.assert_allclose(distance_to(points, ~points), expected[~points], rtol=1e-12)


def test_distance_to__needs_a_point() -> None:
    with pytest.raises(ValueError, match="at least one True pixel"):
        distance_to(np.zeros((4, 4), bool), np.ones((4, 4), bool))


@pytest.mark.parametrize("width", range(1, 21))
def test_width_at__of_a_vessel_along_the_grid_is_right_to_half_a_pixel(width: int) -> None:
    mask = vessel(width)
    skeleton = skeletonize(mask)
    skeleton[:20] = skeleton[-20:] = False
    assert np.abs(width_at(mask, skeleton) - width).max() <= 0.5


def random_bar_errors(width: int, count: int = 25) -> np.ndarray:
    """Found less true width along the centrelines of straight bars at random angles and offsets, ends left out."""
    draws, errors = np.random.default_rng(0), []
    y, x = np.mgrid[:128, :128] - 64
    for angle, shift in zip(draws.uniform(0, np.pi, count), draws.uniform(-0.5, 0.5, count), strict=True):
        across, along = y * np.cos(angle) - x * np.sin(angle) - shift, x * np.cos(angle) + y * np.sin(angle)
        mask = (across >= -width / 2) & (across < width / 2) & (np.abs(along) < 50)
        skeleton = skeletonize(mask)
        errors.append((width_at(mask, skeleton) - width)[np.abs(along[skeleton]) < 50 - width])
    return np.concatenate(errors)


@pytest.mark.parametrize("width", [3, 7, 12, 13])
def test_width_at__of_oblique_bars_is_often_off_by_more_than_half_a_pixel(width: int) -> None:
    errors = random_bar_errors(width)
    assert errors.min() >= -2.4
    assert errors.max() <= 1.0
    assert -0.6 < errors.mean() < 0
    assert 0.2 < (np.abs(errors) > 0.5).mean() < 0.6, "what the docstring and docs/evaluation.md say"


@pytest.mark.parametrize("width", [3, 5, 9, 15])
@pytest.mark.parametrize("angle", [0.3, np.pi / 4, 1.1])
def test_width_at__does_not_depend_on_the_direction(width: int, angle: float) -> None:
    mask = vessel(width, angle)
    inner = np.zeros_like(mask)
    inner[24:-24, 24:-24] = True
    assert abs(float(np.median(width_at(mask, skeletonize(mask) & inner))) - width) <= 1.2


def test_nearest_values__gives_each_pixel_its_nearest_value() -> None:
    points = np.zeros((32, 64), bool)
    points[16, 10] = points[16, 50] = True
    spread = nearest_values(points, np.array([3, 8]), np.ones_like(points)).reshape(points.shape)
    assert (spread[:, :29] == 3).all()
    assert (spread[:, 32:] == 8).all()


def test_nearest_values__agrees_with_scipys_nearest_but_for_near_ties() -> None:
    rng = np.random.default_rng(0)
    points, at = rng.random((60, 80)) < 0.01, rng.random((60, 80)) < 0.5
    values = np.zeros(points.shape)
    values[points] = rng.random(points.sum())
    rows, columns = ndimage.distance_transform_edt(~points, return_distances=False, return_indices=True)
    assert np.mean(nearest_values(points, values[points], at) == values[rows, columns][at]) > 0.97


def test_nearest_values__bad_input() -> None:
    with pytest.raises(ValueError, match="0 points"):
        nearest_values(np.zeros((4, 4), bool), np.zeros(0), np.ones((4, 4), bool))
    with pytest.raises(ValueError, match="16 points"):
        nearest_values(np.ones((4, 4), bool), np.zeros(4), np.ones((4, 4), bool))


def test_distances__do_not_depend_on_opencvs_threads() -> None:
    mask = vessel(9, 0.7, 256)
    skeleton, everywhere = skeletonize(mask), np.ones_like(mask)
    before = cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            widths = width_at(mask, skeleton)
            results.append((distance_to(mask, everywhere), widths, nearest_values(skeleton, widths, everywhere)))
    finally:
        cv2.setNumThreads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
