"""Vessel and background prototypes across frames: a wider reading of "consistency across samples" (docs/methods.md).

Not in the papers, which compare a frame with its own reconstruction; off by default. Letters: B frames, L patches, V
visible ones, D token width.
"""

from __future__ import annotations

from torch import Tensor

from vasomim.losses import prototype_loss
from vasomim.models.mae import visible_indices
from vasomim.ops.patches import patch_sums


def cross_image_term(latent: Tensor, mask: Tensor, guidance: Tensor, patch_size: int, temperature: float) -> Tensor:
    """`prototype_loss` of the visible tokens of a batch.

    Args:
        latent: (B, 1 + V, D), class token first.
        mask: bool (B, L), True = hidden.
        guidance: G (B, H, W) in [0, 1].
        patch_size: side of a patch.
        temperature: sharpness.
    """
    tokens = latent[:, 1:].float()
    shares = patch_sums(guidance, patch_size) / patch_size**2  # (B, L), vessel share of each patch
    shares = shares.gather(1, visible_indices(mask, mask.shape[1] - tokens.shape[1]))
    return prototype_loss(
        pooled(tokens, shares), pooled(tokens, 1 - shares), shares.sum(1) > 0, temperature=temperature
    )


def pooled(tokens: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean token of each frame: (B, V, D), (B, V) >= 0 -> (B, D); 0 where all weights are."""
    total = weights.sum(1, keepdim=True).clamp(min=1e-6)
    return ((weights / total)[..., None] * tokens).sum(1)
