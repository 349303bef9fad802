"""Masks of other methods than guided masking, to compare with. B batch, L patches; bool (B, L), True = hidden.

All take noise in (0, 1) and hide the same number of patches in every row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasomim.ops.masking import draw_in_proportion, hide_lowest, num_hidden, random_mask

_SMALLEST = torch.finfo(torch.float32).tiny


def unit_mask(grid: tuple[int, int], unit: int, mask_ratio: float, noise: Tensor) -> Tensor:
    """Hide whole squares of unit x unit patches at random: noise (B, units) -> bool (B, L).

    SimMIM (arXiv 2111.09886): 32 px units at patches of 16 are units of 2.

    Raises:
        ValueError: if the grid is no multiple of the unit, or the noise is not one value a unit.
    """
    h, w = grid
    if unit < 1 or h % unit or w % unit:
        raise ValueError(f"a grid of {h}x{w} patches is no multiple of mask units of {unit}x{unit}")
    coarse = random_mask(len(noise), (h // unit) * (w // unit), mask_ratio, noise=noise)
    return coarse.reshape(-1, h // unit, w // unit).repeat_interleave(unit, 1).repeat_interleave(unit, 2).flatten(1)


def hardest_mask(scores: Tensor, mask_ratio: float, share: float, noise: Tensor) -> Tensor:
    """Hide the patches of highest score, then others at random: (B, L), noise (B, L) -> bool (B, L).

    floor(share * hidden) of the hidden patches are those of highest score (HPM, arXiv 2304.05919).

    Raises:
        ValueError: if `share` is not in [0, 1] or the shapes differ.
    """
    if not 0 <= share <= 1 or scores.shape != noise.shape:
        raise ValueError(f"need share in [0, 1] and equal shapes, got {share}, {scores.shape} and {noise.shape}")
    hidden = num_hidden(scores.shape[1], mask_ratio)
    hardest = hide_lowest(-scores, math.floor(share * hidden))
    return hide_lowest(torch.where(hardest, -1.0, noise), hidden)


def mask_and_throw(weights: Tensor, mask_ratio: float, throw_ratio: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Hide and throw away patches in proportion to weights: (B, L) >= 0, noise (B, L) -> two bool (B, L), disjoint.

    All patches are put in order by draws in proportion to their weights; the first are hidden, the next thrown away,
    the others stay visible (AMT, arXiv 2211.15362).

    Raises:
        ValueError: if the ratios add up to 1 or more, or leave no patch of so few visible.
    """
    count = weights.shape[1]
    unseen = num_hidden(count, mask_ratio + throw_ratio)
    if unseen == count:
        raise ValueError(f"of {count} patches none is left by mask_ratio {mask_ratio} and throw_ratio {throw_ratio}")
    weights = weights.float().clamp(min=_SMALLEST)  # every patch can be drawn, so that every row hides as many
    hidden = draw_in_proportion(weights, noise, num_hidden(count, mask_ratio))
    gone = draw_in_proportion(weights, noise, unseen)
    return hidden, gone & ~hidden


def some_of(mask: Tensor, count: int, noise: Tensor) -> Tensor:
    """`count` of the patches in `mask`, at random: bool (B, L), noise (B, L) -> bool (B, L).

    Raises:
        ValueError: if a row of the mask may hold fewer (checked on CPU).
    """
    if mask.device.type == "cpu" and count > int(mask.sum(1).min()):
        raise ValueError(f"asked for {count} of {int(mask.sum(1).min())} patches")
    return hide_lowest(torch.where(mask, noise, 2.0), count)
