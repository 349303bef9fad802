"""Resampling as matrices, held to OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vasomim.ops.resampling import (
    apply_sides,
    area_taps,
    cubic_taps,
    gaussian_radius,
    gaussian_taps,
    join_taps,
    linear_taps,
    nearest_index,
    reflect,
    rotation_matrix,
    side_matrix,
)
from vasomim.ops.resize import nearest_index as one_nearest_index

SIDES = [(32, 32), (61, 32), (40, 32), (97, 13), (9, 1)]
RULES = {"area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC, "linear": cv2.INTER_LINEAR}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def taps(rule: str, length: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    lengths, sizes = torch.tensor([length]), torch.tensor([size])
    if rule == "area":
        return area_taps(lengths, sizes, size, -(-length // size) + 1)
    return (cubic_taps if rule == "cubic" else linear_taps)(lengths, sizes, size)


@pytest.mark.parametrize(("length", "size"), SIDES)
@pytest.mark.parametrize("rule", RULES)
def test_taps__are_opencvs(rule: str, length: int, size: int) -> None:
    cases = [(length, size)] if rule == "area" else [(length, size), (size, length)]
    for old, new in cases:
        image = noise(old, old)
        expected = cv2.resize(image, (new, new), interpolation=RULES[rule])
        matrix = side_matrix(*taps(rule, old, new), old)
        laid = apply_sides(torch.from_numpy(image)[None], matrix, matrix)[0]
        np.testing.assert_allclose(laid.numpy(), expected, atol=2e-6)
        np.testing.assert_allclose(matrix.sum(2).numpy(), 1, atol=1e-6)


def test_area_taps__rows_beyond_the_size_get_no_weight() -> None:
    index, weight = area_taps(torch.tensor([9, 9]), torch.tensor([3, 5]), 6, 4)
    assert index.max() < 9
    np.testing.assert_allclose(weight.sum(2).numpy(), [[1] * 3 + [0] * 3, [1] * 5 + [0]], atol=1e-6)


def test_join_taps__each_image_its_own() -> None:
    lengths, sizes = torch.tensor([8, 8]), torch.tensor([4, 4])
    both = join_taps(area_taps(lengths, sizes, 4, 3), cubic_taps(lengths, sizes, 4), torch.tensor([True, False]))
    joined = side_matrix(*both, 8)
    assert torch.equal(joined[0], side_matrix(*area_taps(lengths, sizes, 4, 3), 8)[0])
    assert torch.equal(joined[1], side_matrix(*cubic_taps(lengths, sizes, 4), 8)[1])


@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.5])
def test_gaussian_taps__are_opencvs(sigma: float) -> None:
    image = noise(30, 30)
    sigmas = torch.tensor([sigma, 0.0])
    matrix = side_matrix(*gaussian_taps(sigmas, 30, int(gaussian_radius(sigmas).max())), 30)
    laid = apply_sides(torch.from_numpy(image).expand(2, -1, -1), matrix, matrix).numpy()
    np.testing.assert_allclose(laid[0], cv2.GaussianBlur(image, (0, 0), sigma), atol=1e-6)
    np.testing.assert_array_equal(laid[1], image)


@pytest.mark.parametrize("size", [1, 5, 32])
def test_nearest_index__is_that_of_single_images(size: int) -> None:
    lengths = torch.arange(1, 80)
    expected = np.stack([one_nearest_index(int(length), size) for length in lengths])
    np.testing.assert_array_equal(nearest_index(lengths, size).numpy(), expected)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_reflect__is_opencvs_border(length: int) -> None:
    row = np.arange(length, dtype=np.float32)[None]
    reach = max(length - 1, 0)
    border = cv2.BORDER_REFLECT_101 if length > 1 else cv2.BORDER_REPLICATE
    expected = cv2.copyMakeBorder(row, 0, 0, reach, reach, border)[0]
    np.testing.assert_array_equal(reflect(torch.arange(-reach, length + reach), length).numpy(), expected)


def test_rotation_matrix__turns_x_towards_y() -> None:
    turned = rotation_matrix(torch.tensor([90.0, 0.0])) @ torch.tensor([1.0, 0.0])
    np.testing.assert_allclose(turned.numpy(), [[0, 1], [1, 0]], atol=1e-6)
