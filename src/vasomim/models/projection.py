"""Heads that turn a ViT's class token into what contrastive and self-distilling methods compare. B batch, D width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.models.input_norm import take_input_norm
from vasomim.models.vit import VisionTransformer


class ProjectedEncoder(nn.Module):
    """A ViT whose class token goes through a head: images (B, C, H, W) in [0, 1] -> what the head gives.

    Args:
        encoder: The ViT to pre-train; its positions are kept fixed, and resized for images of other sizes.
        head: From (B, D) to (B, K).
        mean: Mean of the pixels for `input_norm`, taken from the encoder where that has its own.
        std: Their standard deviation.
    """

    def __init__(self, encoder: VisionTransformer, head: nn.Module, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.input_norm = take_input_norm(encoder, mean, std)
        self.encoder = encoder
        encoder.pos_embed.requires_grad_(False)
        self.patch_size = encoder.patch_size
        self.head = head

    def features(self, images: Tensor) -> Tensor:
        """The normed class token: (B, C, H, W) in [0, 1] -> (B, D)."""
        return self.encoder.forward_features(self.input_norm(images))[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        projected: Tensor = self.head(self.features(images))
        return projected


def norm_mlp(in_dim: int, hidden_dim: int, out_dim: int, depth: int) -> nn.Sequential:
    """Linear layers with BatchNorm and ReLU, the last with BatchNorm alone, without scale: (B, in_dim) -> (B, out_dim).

    The projector (depth 3) and predictor (depth 2) of MoCo v3 (Chen et al., ICCV 2021, arXiv 2104.02057).
    """
    layers: list[nn.Module] = []
    for layer in range(depth):
        last = layer == depth - 1
        width = out_dim if last else hidden_dim
        layers += [nn.Linear(in_dim, width, bias=False), nn.BatchNorm1d(width, affine=not last)]
        layers += [] if last else [nn.ReLU(inplace=True)]
        in_dim = width
    return nn.Sequential(*layers)


class PrototypeHead(nn.Module):
    """Perceptron to the unit sphere, then cosines to K learned prototypes: (B, D) -> (B, K).

    The head of DINO (Caron et al., ICCV 2021, arXiv 2104.14294), the norms of its last layer fixed at 1.
    """

    def __init__(self, in_dim: int, hidden_dim: int, bottleneck_dim: int, num_prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, bottleneck_dim))
        nn.init.trunc_normal_(self.prototypes, std=0.02)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, fixed: bool = False) -> Tensor:
        """Cosines in [-1, 1]; with `fixed` the prototypes get no gradient but zeros."""
        # Zeros and not none: processes that add up their gradients wait for one from every parameter.
        prototypes = self.prototypes.detach() + 0 * self.prototypes if fixed else self.prototypes
        return F.linear(F.normalize(self.mlp(x).float(), dim=-1), F.normalize(prototypes, dim=-1))
