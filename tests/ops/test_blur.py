"""Gaussian blur."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from vasomim.ops.blur import gaussian_blur


@pytest.mark.parametrize("sigma", [0.5, 1.1, 3.0])
def test_gaussian_blur__equals_opencv(sigma: float) -> None:
    images = torch.rand(2, 1, 40, 36, generator=torch.Generator().manual_seed(0))
    side = 2 * int(np.ceil(4 * sigma)) + 1
    for image, blurred in zip(images, gaussian_blur(images, sigma), strict=True):
        expected = cv2.GaussianBlur(image[0].numpy(), (side, side), sigma, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(blurred[0].numpy(), expected, atol=1e-6)


def test_gaussian_blur__keeps_constants_and_does_nothing_at_0() -> None:
    flat = torch.full((1, 2, 20, 20), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, 2.0), flat)
    images = torch.rand(1, 1, 8, 8)
    assert gaussian_blur(images, 0.0) is images


def test_gaussian_blur__is_not_rounded_by_autocast() -> None:
    images = torch.rand(1, 1, 20, 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gaussian_blur(images, 1.0), gaussian_blur(images.clone(), 1.0).float())
        assert gaussian_blur(images, 1.0).dtype == torch.float32


def test_gaussian_blur__refuses_what_is_too_small() -> None:
    with pytest.raises(ValueError, match="sides above 8"):
        gaussian_blur(torch.rand(1, 1, 8, 30), 2.0)
