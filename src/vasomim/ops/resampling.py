"""Resampling along one side of an image as sparse weights, so that a batch is resized by two products with matrices.

Letters: B images, S pixels of the output's side, L of the input's, T taps. A pair of tensors (index, weight), both
(B, S, T), says which pixels of a side an output pixel is made of; `side_matrix` writes it as (B, S, L). The rules are
OpenCV's, held to it by tests: pixel centres lie at halves, and interpolation repeats the border of what it is given.
How many taps there are is an argument where it depends on values: asking a GPU for them would mean to wait for it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Taps = tuple[Tensor, Tensor]
"""(B, S, T) int64 positions in 0..length-1, and float32 weights."""

CUBIC = -0.75
"""The free parameter of Keys' cubic kernel as OpenCV and torch have it."""


def area_taps(length: Tensor, size: Tensor, rows: int, taps: int) -> Taps:
    """Averages over area: output pixel i covers [i, i + 1) * length / size, parts of pixels counted as such.

    Args:
        length: (B,) int64, pixels to be averaged, at least `size`.
        size: (B,) int64, output pixels; rows beyond it get no weight.
        rows: S, at least the largest `size`.
        taps: T, above the largest `length / size` by at least 1.
    """
    length, size = length[:, None, None], size[:, None, None]
    start = torch.arange(rows, device=length.device)[:, None] * length  # in units of 1 / size pixel: exact
    index = start // size + torch.arange(taps, device=length.device)
    overlap = torch.minimum(start + length, (index + 1) * size) - torch.maximum(start, index * size)
    used = torch.arange(rows, device=length.device)[:, None] < size
    weight = (overlap.clamp_min(0) * used).float() / length
    return torch.minimum(index, length - 1), weight


def cubic_taps(length: Tensor, size: Tensor, rows: int) -> Taps:
    """Bicubic interpolation (Keys 1981) of `length` (B,) pixels at `size` (B,) points."""
    first, rest = _split(length, size, rows)
    offset = torch.arange(-1, 3, device=length.device)
    distance = (rest[..., None] - offset).abs()
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * CUBIC - 4 * CUBIC
    weight = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0))
    return _clamped(first[..., None] + offset, length), weight.float()


def linear_taps(length: Tensor, size: Tensor, rows: int) -> Taps:
    """Linear interpolation of `length` (B,) pixels at `size` (B,) points."""
    first, rest = _split(length, size, rows)
    weight = torch.stack([1 - rest, rest], -1).float()
    return _clamped(first[..., None] + torch.arange(2, device=length.device), length), weight


def gaussian_taps(sigma: Tensor, side: int, reach: int) -> Taps:
    """Gaussian blur of `side` pixels, reflected at the border.

    Args:
        sigma: (B,) in pixels, 0 for none.
        side: S and L.
        reach: taps to either side, at least the largest of `gaussian_radius`.
    """
    radius = gaussian_radius(sigma)
    offset = torch.arange(-reach, reach + 1, device=sigma.device)
    weight = torch.exp(-(offset**2) / (2 * sigma.double().clamp_min(1e-3)[:, None] ** 2))
    weight = torch.where(offset.abs() <= radius[:, None], weight, 0)
    weight = (weight / weight.sum(1, keepdim=True)).float()
    index = reflect(torch.arange(side, device=sigma.device)[:, None] + offset, side)
    shape = (len(sigma), side, 2 * reach + 1)
    return index.expand(shape), weight[:, None].expand(shape)


def gaussian_radius(sigma: Tensor) -> Tensor:
    """(B,) how many pixels a Gaussian blur looks to either side: OpenCV's four standard deviations, rounded."""
    return ((8 * sigma + 1).round().long() | 1) // 2


def nearest_index(length: Tensor, rows: int) -> Tensor:
    """`vasomim.ops.resize.nearest_index` of several lengths: (B,) int64 -> (B, S) int64."""
    return (2 * torch.arange(rows, device=length.device) + 1) * length[:, None] // (2 * rows)


def join_taps(first: Taps, second: Taps, is_first: Tensor) -> Taps:
    """Of each image the taps of one kind or of the other: is_first (B,) bool."""
    taps = max(first[0].shape[2], second[0].shape[2])
    index, weight = (
        torch.where(is_first[:, None, None], _widened(a, taps), _widened(b, taps))
        for a, b in zip(first, second, strict=True)
    )
    return index, weight


def reflect(index: Tensor, length: int) -> Tensor:
    """Positions folded back into 0..length-1 at the border pixels, which are not repeated."""
    if length == 1:
        return torch.zeros_like(index)
    folded = index % (2 * (length - 1))
    return torch.minimum(folded, 2 * (length - 1) - folded)


def side_matrix(index: Tensor, weight: Tensor, length: int) -> Tensor:
    """(B, S, T) taps -> (B, S, L) float32; taps on one pixel add up."""
    matrix = torch.zeros(*index.shape[:2], length, device=index.device)
    return matrix.scatter_add_(2, index, weight)


def apply_sides(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resample both sides: images (B, H, W), rows (B, S, H), columns (B, S, W) -> (B, S, S)."""
    return rows @ images @ columns.transpose(1, 2)


def _split(length: Tensor, size: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """(B, S) whole pixel before each output pixel's centre, and the distance from it."""
    step = length.double() / size
    centre = (torch.arange(rows, device=length.device) + 0.5) * step[:, None] - 0.5
    first = centre.floor()
    return first.long(), centre - first


def _clamped(index: Tensor, length: Tensor) -> Tensor:
    return torch.minimum(index.clamp_min(0), length[:, None, None] - 1)


def _widened(taps: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(taps, (0, count - taps.shape[2]))


def rotation_matrix(degrees: Tensor) -> Tensor:
    """(B,) -> (B, 2, 2) that turns (x, y), y down."""
    turn = degrees * (math.pi / 180)
    cosine, sine = turn.cos(), turn.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
