"""Position embeddings of a patch grid. D embedding width, h x w grid, L = h*w."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _sincos_1d(dim: int, length: int) -> Tensor:
    """Sine and cosine of positions 0..length-1: -> (length, dim) float64, wavelengths from 2 pi to 10000 * 2 pi."""
    rates = 10000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_2d(dim: int, grid: tuple[int, int]) -> Tensor:
    """Fixed 2-D sine-cosine positions, row by row: -> (h*w, dim) float32.

    The first half of the channels encodes the column, the second the row (the order of MAE and MoCo v3).

    Raises:
        ValueError: if `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"2-D sine-cosine positions need a width that is a multiple of 4, got {dim}")
    h, w = grid
    columns = _sincos_1d(dim // 2, w).repeat(h, 1)  # (h*w, D/2)
    rows = _sincos_1d(dim // 2, h).repeat_interleave(w, dim=0)  # (h*w, D/2)
    return torch.cat([columns, rows], dim=1).float()


def resize_positions(
    positions: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int], num_prefix_tokens: int = 1
) -> Tensor:
    """Resample learned or fixed positions to another grid: (1, prefix + L, D) -> (1, prefix + L', D), same dtype.

    Bicubic with antialiasing, in float32 (bfloat16 has no such kernel on CPU); prefix tokens stay as they are.

    Raises:
        ValueError: if the number of positions does not fit `old_grid`.
    """
    h, w = old_grid
    if positions.shape[1] != num_prefix_tokens + h * w:
        raise ValueError(
            f"{positions.shape[1]} positions do not fit a {h}x{w} grid with {num_prefix_tokens} prefix tokens "
            f"({num_prefix_tokens + h * w} needed)"
        )
    if old_grid == new_grid:
        return positions
    prefix, patches = positions[:, :num_prefix_tokens], positions[:, num_prefix_tokens:]
    planes = patches.float().reshape(1, h, w, -1).permute(0, 3, 1, 2)  # (1, D, h, w)
    planes = F.interpolate(planes, size=new_grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([prefix, planes.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)
