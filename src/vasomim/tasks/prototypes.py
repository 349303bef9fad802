"""Vessel and background prototypes across frames: a wider reading of "consistency across samples" (docs/methods.md).

Not in the papers, which compare a frame with its own reconstruction; off by default. Letters: B frames, L patches, D
token width.
"""

from __future__ import annotations

from torch import Tensor

from vasomim.losses import prototype_loss
from vasomim.ops.patches import patch_sums


def cross_image_term(tokens: Tensor, guidance: Tensor, vessels: Tensor, patch_size: int, temperature: float) -> Tensor:
    """`prototype_loss` of a batch: each frame's tokens pooled by the vessel in their patches, and by what is not.

    Args:
        tokens: (B, L, D) of whole frames, nothing hidden: late in a run guided masking leaves no vessel visible.
        guidance: G (B, H, W) in [0, 1], which weighs the tokens.
        vessels: B (B, H, W) in [0, 1]; frames without any have no say. G cannot tell: a sigmoid in it is never 0.
        patch_size: side of a patch.
        temperature: sharpness.
    """
    shares = patch_sums(guidance, patch_size) / patch_size**2  # (B, L)
    vessel, background = pooled(tokens.float(), shares), pooled(tokens.float(), 1 - shares)
    return prototype_loss(vessel, background, vessels.flatten(1).any(1), temperature=temperature)


def pooled(tokens: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean token of each frame: (B, L, D), (B, L) >= 0 -> (B, D); 0 where all weights are."""
    total = weights.sum(1, keepdim=True).clamp(min=1e-6)
    return ((weights / total)[..., None] * tokens).sum(1)
