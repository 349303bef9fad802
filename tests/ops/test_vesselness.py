"""Sato and Frangi: oracles, then what must hold for any ridge filter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage.filters import sato as skimage_sato

from vasomim.ops.vesselness import frangi, sato, sato_at, vesselness

both = pytest.mark.parametrize("ridge_filter", [sato, frangi])


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """A dark crossing of two lines, one thin and one wide, on noise: (64, 80) float64."""
    y, x = np.mgrid[:64, :80].astype(float)
    lines = np.exp(-0.5 * ((y - 0.4 * x - 12) / 1.5) ** 2) + np.exp(-0.5 * ((x - 45) / 4) ** 2)
    return 200 - 60 * lines + np.random.default_rng(0).normal(0, 3, (64, 80))


def gaussian_ridge(width: float, depth: float = 1.0, size: int = 129) -> np.ndarray:
    x = np.arange(size) - size // 2
    return np.tile(-depth * np.exp(-0.5 * (x / width) ** 2), (size, 1))


def test_sato__agrees_with_scikit_image_away_from_the_border(frame):
    # scikit-image mirrors the gradient as if it were even, so that the two differ within reach of the border.
    wide = np.pad(frame, 40, mode="reflect")
    ours, theirs = sato(wide), skimage_sato(wide, sigmas=[1, 2, 3, 4], mode="reflect")
    assert_allclose(ours[40:-40, 40:-40], theirs[40:-40, 40:-40], atol=2e-4)


@pytest.mark.parametrize("width", [2.0, 4.0])
@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_sato__of_a_gaussian_ridge_is_analytic(width, sigma):
    # A Gaussian ridge smoothed by a Gaussian is one of width hypot(width, sigma); its curvature is known.
    blurred = np.hypot(width, sigma)
    expected = sigma**2 * width / blurred**3
    assert sato(gaussian_ridge(width), sigmas=[sigma])[64, 64] == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("width", [1.5, 3.0, 6.0])
def test_frangi__of_a_straight_ridge_is_analytic_at_its_top(width):
    sigmas = (1.5, 3.0, 6.0)
    curvature = [sigma**2 * width / np.hypot(width, sigma) ** 3 for sigma in sigmas]
    expected = 1 - np.exp(-((max(curvature) / 0.2) ** 2) / 2)
    assert frangi(gaussian_ridge(width), sigmas=sigmas, c=0.2)[64, 64] == pytest.approx(expected, rel=5e-3)


def test_frangi__of_a_round_blob_is_damped():
    y, x = np.mgrid[-32:33, -32:33]
    blob = -np.exp(-0.5 * (x**2 + y**2) / 9)
    # Both eigenvalues are equal there: exp(-1 / (2 beta^2)) = exp(-2) at beta = 0.5.
    assert frangi(blob, sigmas=[3], c=1e-3)[32, 32] == pytest.approx(np.exp(-2), rel=1e-3)


@both
def test_vesselness__does_not_depend_on_sigma_order(ridge_filter, frame):
    assert_array_equal(ridge_filter(frame, sigmas=(1.5, 6.0, 3.0)), ridge_filter(frame, sigmas=(6.0, 3.0, 1.5)))


@both
def test_vesselness__of_dark_ridges_equals_that_of_bright_ridges_in_the_negative(ridge_filter, frame):
    assert_allclose(ridge_filter(frame), ridge_filter(-frame, black_ridges=False), atol=1e-4)


@both
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_vesselness__turns_with_the_image(ridge_filter, frame, turns):
    assert_allclose(ridge_filter(np.rot90(frame, turns)), np.rot90(ridge_filter(frame), turns), atol=1e-4)


@both
def test_vesselness__does_not_see_an_offset(ridge_filter, frame):
    assert_allclose(ridge_filter(frame + 1000), ridge_filter(frame), atol=1e-3)


def test_sato__scales_with_contrast(frame):
    assert_allclose(sato(7 * frame), 7 * sato(frame), rtol=1e-4, atol=1e-3)


def test_frangi__does_not_depend_on_contrast(frame):
    assert_allclose(frangi(7 * frame), frangi(frame), atol=1e-5)


@both
@pytest.mark.parametrize("value", [0, 37, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_vesselness__of_a_constant_is_exactly_zero(ridge_filter, value, dtype):
    assert not ridge_filter(np.full((40, 30), value, dtype)).any()


@both
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (33, 17)])
def test_vesselness__keeps_shape_and_type_of_tiny_images(ridge_filter, shape):
    out = ridge_filter(np.random.default_rng(1).random(shape))
    assert out.shape == shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert (out >= 0).all()


@both
def test_vesselness__stays_finite_at_a_hard_border(ridge_filter):
    image = np.zeros((48, 48), np.uint8)
    image[:, 24:] = 255
    out = ridge_filter(image)
    assert np.isfinite(out).all()
    assert_allclose(out, np.tile(out[:1], (48, 1)), atol=1e-3)


def test_sato_at__agrees_with_sato_at_and_inside_the_border(frame):
    rows, columns = np.array([0, 5, 31, 63]), np.array([0, 70, 44, 79])
    assert_allclose(sato_at(frame, (rows, columns)), sato(frame)[rows, columns], rtol=1e-4, atol=1e-3)


def test_vesselness__chooses_the_filter(frame):
    assert_array_equal(vesselness(frame), sato(frame))
    assert_array_equal(vesselness(frame, sigmas=(2, 5), method="frangi"), frangi(frame, sigmas=(2, 5)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sigmas": ()}, "sigmas"),
        ({"sigmas": (1, -2)}, "sigmas"),
        ({"sigmas": (float("nan"),)}, "sigmas"),
        ({"method": "meijering"}, "method"),
    ],
)
def test_vesselness__refuses_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        vesselness(np.eye(8), **arguments)


@pytest.mark.parametrize("arguments", [{"beta": 0.0}, {"c": -1.0}])
def test_frangi__refuses_parameters_that_are_not_positive(arguments):
    with pytest.raises(ValueError, match="positive"):
        frangi(np.eye(8), **arguments)


@both
@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((0, 4)), np.full((4, 4), np.nan)])
def test_vesselness__refuses_what_is_no_frame(ridge_filter, image):
    with pytest.raises(ValueError, match="image"):
        ridge_filter(image)
