"""Gaussian blur of batches. B batch, C channels, H x W pixels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of `sigma` pixels, borders mirrored: (B, C, H, W) -> the same shape.

    The kernel reaches four standard deviations; its sum is 1, so that the brightness stays.

    Raises:
        ValueError: `sigma` is negative, or the image is smaller than half the kernel.
    """
    radius = math.ceil(4 * sigma)
    if sigma < 0 or min(images.shape[-2:]) <= radius:
        raise ValueError(f"need sigma >= 0 and sides above {radius} pixels, got {sigma} and {tuple(images.shape[-2:])}")
    if sigma == 0:
        return images
    at = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = (-0.5 * (at / sigma).square()).exp()
    kernel = (kernel / kernel.sum()).to(images.dtype)
    planes = F.pad(images.flatten(0, 1).unsqueeze(1), (radius,) * 4, mode="reflect")
    with torch.autocast(images.device.type, enabled=False):  # these are pixels: half precision would add steps to them
        down = F.conv2d(planes, kernel.reshape(1, 1, -1, 1))
        return F.conv2d(down, kernel.reshape(1, 1, 1, -1)).reshape(images.shape)
