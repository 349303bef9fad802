"""Vision Transformer with timm's arguments and state-dict keys. B batch, L = h*w patches, N tokens, D embed_dim.

Dosovitskiy et al., ICLR 2021; stochastic depth: Huang et al., ECCV 2016.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vasomim.models.input_norm import InputNorm, check_floats
from vasomim.ops.patches import grid_of
from vasomim.ops.positions import resize_positions, sincos_2d


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training, scaling the rest up: (B, ...) -> (B, ...)."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop_path_rate must lie in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep).div_(keep)


class PatchEmbed(nn.Module):
    """Linear embedding of patches: (B, C, H, W) -> (B, L, D)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.proj(x)
        return embedded.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention: (B, N, D) -> (B, N, D)."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"embed_dim={dim} is not a multiple of num_heads={num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        heads = self.num_heads
        # Taken apart where they lie: their gradients are then put together in one copy instead of two.
        q, k, v = (part.transpose(1, 2) for part in self.qkv(x).reshape(b, n, 3, heads, d // heads).unbind(2))
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)  # from (B, heads, N, d)
        projected: Tensor = self.proj(x)
        return projected

    def first_row(self, x: Tensor) -> Tensor:
        """How the first token attends to all tokens, in each head: (B, N, D) -> (B, heads, N), rows summing to 1."""
        b, n, d = x.shape
        q, k, _ = self.qkv(x).reshape(b, n, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores: Tensor = q[:, :, 0:1] @ k.transpose(-2, -1) / (d // self.num_heads) ** 0.5  # (B, heads, 1, N)
        return scores.float().softmax(-1)[:, :, 0]


class Mlp(nn.Module):
    """Two-layer perceptron with GELU: (B, N, D) -> (B, N, D)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block: (B, N, D) -> (B, N, D)."""

    grad_checkpointing = False
    """Whether to compute the activations again in the backward pass instead of keeping them (timm's name)."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float = 4.0, qkv_bias: bool = True, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        if self.grad_checkpointing and torch.is_grad_enabled():
            out: Tensor = checkpoint(self._residuals, x, use_reentrant=False)
            return out
        return self._residuals(x)

    def _residuals(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


def last_of(states: Iterable[Tensor]) -> Tensor:
    """The last of them; those before it are let go."""
    return deque(states, maxlen=1).pop()


def init_transformer(module: nn.Module) -> None:
    """Xavier-uniform linear layers, zero biases, unit LayerNorms (the initialisation MAE trains stably from)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


class VisionTransformer(nn.Module):
    """ViT with class token; state-dict keys are timm's, so weights travel both ways.

    Takes images as the weights expect them: normalised already, or in [0, 1] where `input_norm` is set (`load_encoder`
    sets it; models that wrap an encoder take it over).

    Args:
        img_size: Side (or height and width) that `pos_embed` is made for; other sizes get resized positions.
        patch_size: Side of a patch in pixels.
        in_chans: Image channels.
        embed_dim: Token width D.
        depth: Number of blocks.
        num_heads: Attention heads; divides `embed_dim`.
        mlp_ratio: Hidden width of the MLPs in units of D.
        qkv_bias: Whether query, key and value have biases.
        drop_path_rate: Stochastic depth of the last block; rises linearly from 0 at the first.
        num_classes: Outputs of a linear head on the class token; 0 is no head.
        fixed_positions: Keep the sine-cosine positions as they are instead of training them.
        reg_tokens: Register tokens (Darcet et al., ICLR 2024), learned tokens beside the class token that the blocks
            see and no output holds; 0 is none.

    Raises:
        ValueError: if sizes do not divide.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 1,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        num_classes: int = 0,
        fixed_positions: bool = False,
        reg_tokens: int = 0,
    ) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.patch_size, self.in_chans, self.embed_dim = patch_size, in_chans, embed_dim
        self.grid_size = grid_of(height, width, patch_size)
        self.input_norm: InputNorm | None = None
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.reg_token = nn.Parameter(torch.zeros(1, reg_tokens, embed_dim)) if reg_tokens else None
        count = self.grid_size[0] * self.grid_size[1]
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + count, embed_dim), requires_grad=not fixed_positions)
        rates = [drop_path_rate * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, qkv_bias, rate) for rate in rates)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes > 0 else nn.Identity()
        self._resized: dict[tuple[object, ...], Tensor] = {}
        self._init_weights()

    def _init_weights(self) -> None:
        self.apply(init_transformer)
        # As a linear layer on p*p*C inputs; a convolution's own default looks at the fan-in alone.
        proj = self.patch_embed.proj
        nn.init.xavier_uniform_(proj.weight.view(self.embed_dim, -1))
        assert proj.bias is not None
        nn.init.zeros_(proj.bias)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        if self.reg_token is not None:
            nn.init.trunc_normal_(self.reg_token, std=0.02)
        with torch.no_grad():
            self.pos_embed[:, 1:] = sincos_2d(self.embed_dim, self.grid_size)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width of the images that its positions are laid out for, in pixels."""
        height, width = self.grid_size
        return height * self.patch_size, width * self.patch_size

    @property
    def num_registers(self) -> int:
        """Register tokens R."""
        return 0 if self.reg_token is None else self.reg_token.shape[1]

    @property
    def measures(self) -> dict[str, Any]:
        """Arguments that make a ViT of this architecture again; what only training knows of, none of them shows."""
        block, (height, width) = self.blocks[0], self.img_size
        assert isinstance(block, Block)
        return {
            "img_size": height if height == width else (height, width),
            "patch_size": self.patch_size,
            "in_chans": self.in_chans,
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            "num_heads": block.attn.num_heads,
            "mlp_ratio": block.mlp.fc1.out_features / self.embed_dim,
            "qkv_bias": block.attn.qkv.bias is not None,
            "num_classes": self.head.out_features if isinstance(self.head, nn.Linear) else 0,
            "reg_tokens": self.num_registers,
        }

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positions of the class token and of an h x w grid: -> (1, 1 + h*w, D)."""
        pos_embed = self.pos_embed
        if grid == self.grid_size:
            return pos_embed
        tracing = torch.compiler.is_compiling()  # a traced tensor must not outlive its trace in our cache
        trained = torch.is_grad_enabled() and pos_embed.requires_grad
        if tracing or trained or pos_embed.is_inference():
            return resize_positions(pos_embed, self.grid_size, grid)
        # The version counts in-place changes: optimiser steps, load_state_dict and averaging all show in it.
        key = (grid, pos_embed._version, pos_embed.data_ptr(), pos_embed.dtype, pos_embed.device)
        if key not in self._resized:
            if any(old[1:] != key[1:] for old in self._resized) or len(self._resized) >= 8:
                self._resized.clear()
            with torch.inference_mode(False), torch.no_grad():
                self._resized[key] = resize_positions(pos_embed, self.grid_size, grid)
        return self._resized[key]

    def add_registers(self, tokens: Tensor) -> Tensor:
        """Put the register tokens, where there are any, behind the class token: (B, 1 + N, D) -> (B, 1 + R + N, D)."""
        if self.reg_token is None:
            return tokens
        registers = self.reg_token.expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)

    def drop_registers(self, tokens: Tensor) -> Tensor:
        """Take them out again: (B, 1 + R + N, D) -> (B, 1 + N, D)."""
        if self.reg_token is None:
            return tokens
        return torch.cat([tokens[:, :1], tokens[:, 1 + self.num_registers :]], dim=1)

    def embed(self, x: Tensor) -> Tensor:
        """Class token and patch tokens with positions: (B, C, H, W) -> (B, 1 + L, D).

        Raises:
            ValueError: if H or W is not a multiple of the patch size, the channels differ, or images are integers.
        """
        check_floats(x)
        if x.shape[1] != self.in_chans:
            raise ValueError(f"images have {x.shape[1]} channels, this model takes {self.in_chans}")
        grid = grid_of(x.shape[2], x.shape[3], self.patch_size)
        if self.input_norm is not None:
            x = self.input_norm(x)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), self.patch_embed(x)], dim=1)
        return tokens + self.positions(grid)

    def states(self, tokens: Tensor) -> Iterator[Tensor]:
        """What enters the first block and what leaves each, one at a time: (B, 1 + N, D) -> (B, 1 + R + N, D)."""
        tokens = self.add_registers(tokens)
        yield tokens
        for block in self.blocks:
            tokens = block(tokens)
            yield tokens

    def run_blocks(self, tokens: Tensor) -> Tensor:
        """All blocks, which see the registers too, and the last norm: (B, 1 + N, D) -> (B, 1 + N, D)."""
        normed: Tensor = self.norm(self.drop_registers(last_of(self.states(tokens))))
        return normed

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> normed tokens (B, 1 + L, D), class token first."""
        return self.run_blocks(self.embed(x))

    def forward_intermediates(self, x: Tensor, indices: Sequence[int], norm: bool = False) -> list[Tensor]:
        """Patch tokens after the named blocks, as maps: (B, C, H, W) -> list of (B, D, h, w).

        Args:
            x: Images.
            indices: Blocks counted from 0, in rising order.
            norm: Pass every map through the last norm; the residual stream grows with depth and would drown early maps.

        Raises:
            ValueError: if `indices` do not rise or name a block that is not there.
        """
        if list(indices) != sorted(set(indices)) or not indices or not 0 <= indices[0] <= indices[-1] < self.depth:
            raise ValueError(f"indices must rise within 0..{self.depth - 1}, got {list(indices)}")
        h, w = grid_of(x.shape[2], x.shape[3], self.patch_size)
        maps = []
        for number, tokens in enumerate(islice(self.states(self.embed(x)), indices[-1] + 2), start=-1):
            if number in indices:
                patches = self.drop_registers(self.norm(tokens) if norm else tokens)[:, 1:]
                maps.append(patches.transpose(1, 2).reshape(x.shape[0], self.embed_dim, h, w))
        return maps

    def class_attention(self, x: Tensor) -> Tensor:
        """How the class token attends to the patches in the last block, mean over heads: (B, C, H, W) -> (B, L).

        Non-negative; a row sums to 1 less what the class token gives to itself (Caron et al., ICCV 2021, figure 1) and
        to the registers.
        """
        tokens, last = last_of(islice(self.states(self.embed(x)), self.depth)), self.blocks[-1]
        assert isinstance(last, Block)
        rows = last.attn.first_row(last.norm1(tokens)).mean(1)  # (B, 1 + R + L)
        return rows[:, 1 + self.num_registers :]

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> class token (B, D), or (B, num_classes) with a head."""
        out: Tensor = self.head(self.forward_features(x)[:, 0])
        return out
