"""Images to patches and back. B batch, C channels, H x W pixels, p patch side, h x w grid, L = h*w patches by row."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6
"""Added to the variance of a patch, so that a constant one can be divided by it."""


def grid_of(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Patches down and across an image.

    Raises:
        ValueError: if a side is no positive multiple of `patch_size`.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    if height < 1 or width < 1 or height % patch_size or width % patch_size:
        raise ValueError(f"image is {height}x{width}, not a multiple of patch_size={patch_size}; pad it first")
    return height // patch_size, width // patch_size


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches: (B, C, H, W) -> (B, L, p*p*C), pixels row by row, channels last (MAE's order).

    Raises:
        ValueError: if H or W is not a multiple of `patch_size`.
    """
    b, c, height, width = images.shape
    p = patch_size
    h, w = grid_of(height, width, p)
    return images.reshape(b, c, h, p, w, p).permute(0, 2, 4, 3, 5, 1).reshape(b, h * w, p * p * c)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int], channels: int) -> Tensor:
    """Put patches back together: (B, L, p*p*C) -> (B, C, H, W); the inverse of `patchify`.

    Raises:
        ValueError: if the shape does not fit grid, patch size and channels.
    """
    b, count, size = patches.shape
    (h, w), p = grid, patch_size
    if count != h * w or size != p * p * channels:
        raise ValueError(
            f"patches are (B, {count}, {size}), but a {h}x{w} grid of {p}x{p} patches with {channels} channels "
            f"needs (B, {h * w}, {p * p * channels})"
        )
    return patches.reshape(b, h, w, p, p, channels).permute(0, 5, 1, 3, 2, 4).reshape(b, channels, h * p, w * p)


def patch_sums(maps: Tensor, patch_size: int) -> Tensor:
    """Sum of each patch: (B, H, W) -> (B, L), at least float32.

    Raises:
        ValueError: if H or W is not a multiple of `patch_size`.
    """
    b, height, width = maps.shape
    p = patch_size
    h, w = grid_of(height, width, p)
    # A half-precision sum over 256 pixels would lose faint vessels; bool has no useful sum at all.
    full = maps if maps.dtype.is_floating_point and maps.dtype.itemsize >= 4 else maps.float()
    # Rows first, then columns: both sums run along memory, five times as fast as over two dimensions at once.
    return full.reshape(b, h, p, width).sum(2).reshape(b, h * w, p).sum(2)


def normalize_patches(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give every patch mean 0 and variance 1: (B, L, P) -> (normalised (B, L, P), mean (B, L, 1), scale (B, L, 1)).

    The scale is the root of the unbiased variance, as in MAE's per-patch targets, and of 1e-6: undo with
    `x * scale + mean`.
    """
    scale = (patches.var(-1, keepdim=True) + _EPS).sqrt()
    mean = patches.mean(-1, keepdim=True)
    return (patches - mean) / scale, mean, scale


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides divide: (B, C, H, W) -> (B, C, H', W'), H' >= H, W' >= W.

    Edge pixels rather than zeros: a black rim beside a bright frame looks like a vessel wall.
    """
    height, width = images.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return images
    return F.pad(images, (0, right, 0, down), mode="replicate")
