"""A batch as a task meets it, for pictures: what its masks are drawn from, what they hide, what is decoded.

Letters: B frames, L patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from vasomim.models.projection import ProjectedEncoder
from vasomim.ops.patches import grid_of


@dataclass(frozen=True, slots=True)
class Inspection:
    """A batch as a task meets it in training, for pictures."""

    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """What the masks were drawn from, by name: (B, H, W), >= 0."""
    hidden: Tensor | None = None
    """(B, L) bool, or None where nothing is hidden."""
    decoded: Tensor | None = None
    """(B, C, H, W) decoded frames, or None where nothing is decoded."""


def patch_map(values: Tensor, images: Tensor, patch_size: int) -> Tensor:
    """A value for each patch, painted over its pixels: (B, L) -> (B, H, W)."""
    h, w = grid_of(images.shape[-2], images.shape[-1], patch_size)
    return values.reshape(-1, h, w).repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)


def inspect_attention(model: ProjectedEncoder, images: Tensor) -> Inspection:
    """The class token's attention in frames (B, C, H, W) in [0, 1], for methods that neither hide nor decode."""
    attention = model.encoder.class_attention(model.input_norm(images))
    return Inspection({"attention": patch_map(attention, images, model.patch_size)})
