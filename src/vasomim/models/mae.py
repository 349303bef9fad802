"""Masked autoencoder: the encoder sees visible patches only, a light decoder predicts all of them.

He et al., CVPR 2022. B batch, C channels, L = h*w patches, V visible ones, D encoder width, E decoder width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vasomim.models.input_norm import take_input_norm
from vasomim.models.vit import Block, VisionTransformer, init_transformer
from vasomim.ops.patches import grid_of
from vasomim.ops.positions import resize_positions, sincos_2d


def visible_indices(mask: Tensor, num_hidden: int | None = None) -> Tensor:
    """Indices of the patches that are not hidden, rising: bool (B, L) -> int64 (B, V).

    Without `num_hidden` the device is asked for the count, which waits for it.
    """
    if num_hidden is None:
        num_hidden = int(mask[0].sum())
    if mask.device.type == "cpu" and not torch.compiler.is_compiling():  # free here; on a GPU it would wait for it
        counts = mask.sum(1)
        if not bool((counts == num_hidden).all()):
            found = sorted(set(counts.tolist()))
            raise ValueError(f"every row of the mask must hide {num_hidden} patches, got rows hiding {found}")
    # Stable, so that visible patches keep their order and equal masks give equal sums.
    return mask.to(torch.uint8).argsort(dim=1, stable=True)[:, : mask.shape[1] - num_hidden]


def marked_indices(mask: Tensor, count: int | None = None) -> Tensor:
    """Indices of the patches that are True, rising: bool (B, L) -> int64 (B, count); as `visible_indices`."""
    return visible_indices(~mask, None if count is None else mask.shape[1] - count)


class MaskedAutoencoder(nn.Module):
    """Encoder for visible patches plus a decoder that predicts the pixels of every patch.

    Takes images in [0, 1]; normalises them with `input_norm`. Positions are fixed sine-cosine ones on both sides.

    Args:
        encoder: The ViT to pre-train, of which `blocks`, positions and norms are used.
        decoder_embed_dim: Width E of the decoder.
        decoder_depth: Its blocks.
        decoder_num_heads: Its attention heads.
        mean: Mean of the pixels for `input_norm`, taken from the encoder where that has its own.
        std: Their standard deviation.
    """

    decoder_positions: Tensor

    def __init__(
        self,
        encoder: VisionTransformer,
        decoder_embed_dim: int = 512,
        decoder_depth: int = 8,
        decoder_num_heads: int = 16,
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        self.input_norm = take_input_norm(encoder, mean, std)
        self.encoder = encoder
        self.encoder.pos_embed.requires_grad_(False)
        self.patch_size, self.in_chans = encoder.patch_size, encoder.in_chans
        self.decoder_embed = nn.Linear(encoder.embed_dim, decoder_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.decoder_blocks = nn.ModuleList(Block(decoder_embed_dim, decoder_num_heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_embed_dim, encoder.patch_size**2 * encoder.in_chans)
        positions = sincos_2d(decoder_embed_dim, encoder.grid_size)[None]
        self.register_buffer("decoder_positions", positions, persistent=False)  # follows from the shapes
        for part in (self.decoder_embed, self.decoder_blocks, self.decoder_norm, self.decoder_pred):
            part.apply(init_transformer)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    @property
    def measures(self) -> dict[str, Any]:
        """Arguments that make an autoencoder of this architecture again: those of its encoder and its decoder."""
        block = self.decoder_blocks[0]
        assert isinstance(block, Block)
        decoder = {
            "decoder_embed_dim": self.decoder_embed.out_features,
            "decoder_depth": len(self.decoder_blocks),
            "decoder_num_heads": block.attn.num_heads,
        }
        return {**self.encoder.measures, **decoder}

    def encode(self, images: Tensor, mask: Tensor, num_hidden: int | None = None) -> Tensor:
        """Latent of the visible patches: (B, C, H, W) in [0, 1], bool (B, L) -> (B, 1 + V, D), class token first.

        Hidden pixels cannot change it.

        Args:
            images: Images, H and W multiples of the patch size.
            mask: True = hidden, the same count in every row.
            num_hidden: That count; without it the device is asked, which waits for it.

        Raises:
            ValueError: if mask and images do not fit, or rows hide different counts (checked on CPU).
        """
        self._check(images, mask)
        visible = visible_indices(mask, num_hidden)
        tokens = self.encoder.embed(self.input_norm(images))  # (B, 1 + L, D); patches do not mix before the blocks
        index = visible[..., None].expand(-1, -1, tokens.shape[2])
        seen = torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, index)], dim=1)
        return self.encoder.run_blocks(seen)

    def place(self, latent: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the decoder reads: latent (B, 1 + V, D) -> (B, 1 + L, E), mask tokens where `mask` (B, L) is True."""
        visible = visible_indices(mask, mask.shape[1] - (latent.shape[1] - 1))
        x = self.decoder_embed(latent)  # (B, 1 + V, E)
        index = visible[..., None].expand(-1, -1, x.shape[2])
        places = self.mask_token.to(x.dtype).expand(x.shape[0], grid[0] * grid[1], -1).scatter(1, index, x[:, 1:])
        positions = resize_positions(self.decoder_positions, self.encoder.grid_size, grid, num_prefix_tokens=0)
        return torch.cat([x[:, :1], places + positions], dim=1)  # (B, 1 + L, E)

    def predict(self, tokens: Tensor) -> Tensor:
        """Decoder tokens, class token first, in any number: (B, 1 + N, E) -> predicted patches (B, N, p*p*C)."""
        for block in self.decoder_blocks:
            tokens = block(tokens)
        predictions: Tensor = self.decoder_pred(self.decoder_norm(tokens)[:, 1:])
        return predictions

    def forward(self, images: Tensor, mask: Tensor, num_hidden: int | None = None) -> Tensor:
        """Predict every patch: (B, C, H, W) in [0, 1], bool (B, L), True = hidden -> (B, L, p*p*C).

        Predictions live in normalised space, or in that of per-patch normalised targets: as the loss decides.
        Arguments and errors are those of `encode`.
        """
        latent = self.encode(images, mask, num_hidden)
        grid = grid_of(images.shape[2], images.shape[3], self.patch_size)
        return self.predict(self.place(latent, mask, grid))

    def _check(self, images: Tensor, mask: Tensor) -> None:
        h, w = grid_of(images.shape[2], images.shape[3], self.patch_size)
        if mask.shape != (images.shape[0], h * w) or mask.dtype != torch.bool:
            raise ValueError(
                f"mask must be bool of shape {(images.shape[0], h * w)} for these images, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
