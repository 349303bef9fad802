"""SimMIM: the whole encoder sees mask tokens, one linear layer predicts pixels (CVPR 2022, arXiv 2111.09886).

B batch, C channels, L patches, D encoder width. Ours is the plain ViT of all methods: class token and fixed sine-cosine
positions in place of shared relative position biases and layer scales.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasomim.models.input_norm import take_input_norm
from vasomim.models.vit import VisionTransformer, init_transformer
from vasomim.ops.patches import grid_of


class SimMIM(nn.Module):
    """Encoder over all patches, hidden ones replaced by a learned token, and a linear head.

    Takes images in [0, 1]; normalises them with `input_norm`.

    Args:
        encoder: The ViT to pre-train; its positions are kept fixed.
        mean: Mean of the pixels for `input_norm`, taken from the encoder where that has its own.
        std: Their standard deviation.
    """

    def __init__(self, encoder: VisionTransformer, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        self.input_norm = take_input_norm(encoder, mean, std)
        self.encoder = encoder
        encoder.pos_embed.requires_grad_(False)
        self.patch_size = encoder.patch_size
        self.mask_token = nn.Parameter(torch.zeros(1, 1, encoder.embed_dim))
        self.head = nn.Linear(encoder.embed_dim, encoder.patch_size**2 * encoder.in_chans)
        self.head.apply(init_transformer)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict every patch: (B, C, H, W) in [0, 1], bool (B, L), True = hidden -> (B, L, p*p*C), normalised pixels.

        Hidden pixels cannot change it.
        """
        grid = grid_of(images.shape[2], images.shape[3], self.patch_size)
        tokens = self.encoder.embed(self.input_norm(images))  # (B, 1 + L, D)
        hidden = self.mask_token + self.encoder.positions(grid)[:, 1:]
        patches = torch.where(mask[..., None], hidden.to(tokens.dtype), tokens[:, 1:])
        seen = self.encoder.run_blocks(torch.cat([tokens[:, :1], patches], dim=1))
        predictions: Tensor = self.head(seen[:, 1:])
        return predictions
