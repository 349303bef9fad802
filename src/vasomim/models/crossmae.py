"""CrossMAE: every hidden patch is read out of the encoder on its own, by cross-attention alone (arXiv 2401.14391).

Fu et al., "Rethinking patch dependence for masked autoencoders". B batch, L patches, V visible ones, Q asked ones,
D encoder width, E decoder width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.models.input_norm import take_input_norm
from vasomim.models.mae import marked_indices, visible_indices
from vasomim.models.vit import Mlp, VisionTransformer, init_transformer
from vasomim.ops.patches import grid_of
from vasomim.ops.positions import resize_positions, sincos_2d


class CrossAttention(nn.Module):
    """Queries look at a context: (B, Q, E), (B, N, D) -> (B, Q, E)."""

    def __init__(self, dim: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"decoder_embed_dim={dim} is not a multiple of decoder_num_heads={num_heads}")
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(context_dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        b, n, dim = x.shape
        split = (self.num_heads, dim // self.num_heads)
        q = self.q(x).unflatten(-1, split).transpose(1, 2)  # (B, heads, Q, d)
        k, v = self.kv(context).unflatten(-1, (2, *split)).permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, d)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, dim)
        out: Tensor = self.proj(attended)
        return out


class CrossBlock(nn.Module):
    """Pre-norm cross-attention and perceptron; queries never see each other: (B, Q, E), (B, N, D) -> (B, Q, E)."""

    def __init__(self, dim: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm_context = nn.LayerNorm(context_dim, eps=1e-6)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = CrossAttention(dim, context_dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), self.norm_context(context))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class CrossMAE(nn.Module):
    """Encoder for visible patches and a decoder without self-attention, for as many hidden patches as are asked for.

    Each decoder block looks at its own learned mixture of what all encoder blocks put out ("inter-block attention").
    Takes images in [0, 1]; normalises them with `input_norm`. Positions are fixed sine-cosine ones on both sides.

    Args:
        encoder: The ViT to pre-train.
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
        decoder_depth: int = 12,
        decoder_num_heads: int = 16,
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        self.input_norm = take_input_norm(encoder, mean, std)
        self.encoder = encoder
        encoder.pos_embed.requires_grad_(False)
        self.patch_size = encoder.patch_size
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_embed_dim))
        self.mixture = nn.Parameter(torch.empty(decoder_depth, encoder.depth))
        self.decoder_blocks = nn.ModuleList(
            CrossBlock(decoder_embed_dim, encoder.embed_dim, decoder_num_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_embed_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_embed_dim, encoder.patch_size**2 * encoder.in_chans)
        positions = sincos_2d(decoder_embed_dim, encoder.grid_size)[None]
        self.register_buffer("decoder_positions", positions, persistent=False)  # follows from the shapes
        for part in (self.decoder_blocks, self.decoder_norm, self.decoder_pred):
            part.apply(init_transformer)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.mixture, std=encoder.depth**-0.5)

    def forward(
        self,
        images: Tensor,
        mask: Tensor,
        asked: Tensor,
        num_hidden: int | None = None,
        num_asked: int | None = None,
    ) -> Tensor:
        """Predict the patches asked for: (B, C, H, W) in [0, 1], bool (B, L), bool (B, L) -> (B, Q, p*p*C).

        Args:
            images: Images, H and W multiples of the patch size.
            mask: True = hidden from the encoder, the same count in every row.
            asked: True = to be predicted, the same count Q in every row; the answers come in the order of the patches.
            num_hidden: The count of hidden patches; without it the device is asked, which waits for it.
            num_asked: Q, in the same way.
        """
        grid = grid_of(images.shape[2], images.shape[3], self.patch_size)
        depths = self.encode(images, mask, num_hidden)
        positions = resize_positions(self.decoder_positions, self.encoder.grid_size, grid, num_prefix_tokens=0)
        index = marked_indices(asked, num_asked)[..., None].expand(-1, -1, positions.shape[2])
        queries = self.mask_token + positions.expand(len(images), -1, -1).gather(1, index)  # (B, Q, E)
        contexts = torch.tensordot(self.mixture, depths, dims=1)  # (decoder depth, B, 1 + V, D)
        for block, context in zip(self.decoder_blocks, contexts, strict=True):
            queries = block(queries, context)
        predictions: Tensor = self.decoder_pred(self.decoder_norm(queries))
        return predictions

    def encode(self, images: Tensor, mask: Tensor, num_hidden: int | None = None) -> Tensor:
        """Visible tokens after each encoder block, class token first: -> (depth, B, 1 + V, D), the last ones normed."""
        tokens = self.encoder.embed(self.input_norm(images))
        index = visible_indices(mask, num_hidden)[..., None].expand(-1, -1, tokens.shape[2])
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, index)], dim=1)
        _, *earlier, last = map(self.encoder.drop_registers, self.encoder.states(tokens))
        return torch.stack([*earlier, self.encoder.norm(last)])
