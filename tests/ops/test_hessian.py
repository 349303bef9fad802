"""Derivative kernels, Hessians and eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.ops.hessian import check_image, derivative_kernel, eigenvalues, hessian


@pytest.mark.parametrize("sigma", [1.0, 2.5, 4.0])
def test_derivative_kernel__has_the_moments_of_a_derivative(sigma):
    smooth, slope, curve = (derivative_kernel(sigma, order) for order in (0, 1, 2))
    x = np.arange(len(smooth)) - len(smooth) // 2
    assert smooth.sum() == pytest.approx(1, abs=1e-7)
    assert (smooth * x**2).sum() == pytest.approx(sigma**2, rel=1e-2)
    assert (slope * x).sum() == pytest.approx(1, rel=1e-2)
    assert curve.sum() == pytest.approx(0, abs=1e-6)
    assert (curve * x**2).sum() == pytest.approx(2, rel=2e-2)


@pytest.mark.parametrize(("sigma", "order"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 3)])
def test_derivative_kernel__refuses_bad_arguments(sigma, order):
    with pytest.raises(ValueError, match="must be"):
        derivative_kernel(sigma, order)


def test_hessian__of_a_parabola_is_its_curvature():
    y, x = np.mgrid[-32:33, -32:33].astype(np.float32)
    yy, xy, xx = hessian(0.5 * y**2 + 2 * x * y - x**2, sigma=2.0)
    assert yy[32, 32] / 4 == pytest.approx(1, abs=1e-3)
    assert xy[32, 32] / 4 == pytest.approx(2, abs=1e-3)
    assert xx[32, 32] / 4 == pytest.approx(-2, abs=1e-3)


def test_eigenvalues__match_numpy():
    yy, xy, xx = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
    high, low = eigenvalues(yy, xy, xx)
    expected = np.linalg.eigvalsh(np.stack([yy, xy, xy, xx], -1).reshape(5, 6, 2, 2))
    np.testing.assert_allclose(high, expected[..., 1], atol=1e-5)
    np.testing.assert_allclose(low, expected[..., 0], atol=1e-5)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3)), "shape"),
        (np.zeros((0, 4)), "empty"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "infinite"),
        (np.zeros((4, 4), np.complex64), "dtype"),
        (np.full((4, 4), "a"), "dtype"),
    ],
)
def test_check_image__names_what_is_wrong(image, words):
    with pytest.raises(ValueError, match=words):
        check_image(image)
