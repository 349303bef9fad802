"""A masked autoencoder that also predicts where it will fail (HPM: Wang et al., CVPR 2023, arXiv 2304.05919).

B batch, L patches, E decoder width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.vit import Block, init_transformer
from vasomim.ops.patches import grid_of


class HardPatchMiner(nn.Module):
    """An autoencoder and a second decoder of the same shape, with one output a patch: how hard it is to reconstruct.

    Args:
        mae: The autoencoder; both decoders read the same tokens.
    """

    def __init__(self, mae: MaskedAutoencoder) -> None:
        super().__init__()
        self.mae = mae
        width = mae.mask_token.shape[-1]
        heads = [block.attn.num_heads for block in mae.decoder_blocks if isinstance(block, Block)]
        self.loss_blocks = nn.ModuleList(Block(width, num_heads) for num_heads in heads)
        self.loss_norm = nn.LayerNorm(width, eps=1e-6)
        self.loss_head = nn.Linear(width, 1)
        for part in (self.loss_blocks, self.loss_norm, self.loss_head):
            part.apply(init_transformer)

    def forward(self, images: Tensor, mask: Tensor, num_hidden: int | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) in [0, 1], bool (B, L) -> predicted patches (B, L, p*p*C) and their difficulty (B, L).

        `num_hidden` is the count of hidden patches in each row; without it the device is asked, which waits for it.
        """
        tokens = self._tokens(images, mask, num_hidden)
        return self.mae.predict(tokens), self._difficulty(tokens)

    def difficulty(self, images: Tensor) -> Tensor:
        """Which patches of fully visible images (B, C, H, W) would be hard: -> (B, L), a score for ranking alone."""
        h, w = grid_of(images.shape[2], images.shape[3], self.mae.patch_size)
        nothing = torch.zeros(len(images), h * w, dtype=torch.bool, device=images.device)
        return self._difficulty(self._tokens(images, nothing, 0))

    def _tokens(self, images: Tensor, mask: Tensor, num_hidden: int | None) -> Tensor:
        grid = grid_of(images.shape[2], images.shape[3], self.mae.patch_size)
        return self.mae.place(self.mae.encode(images, mask, num_hidden), mask, grid)

    def _difficulty(self, tokens: Tensor) -> Tensor:
        for block in self.loss_blocks:
            tokens = block(tokens)
        scores: Tensor = self.loss_head(self.loss_norm(tokens)[:, 1:])
        return scores.squeeze(-1)
