"""The same network, written so that inference runtimes recognise its parts and compute them alike.

B batch, N tokens, D width, H x W pixels, h x w patches.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from vasomim.models.unext import ConvDown, ConvUp
from vasomim.models.vit import Attention, VisionTransformer


class Segmenter(nn.Module):
    """What is exported: images (B, 1, H, W) in [0, 1] -> vessel probability (B, H, W); normalisation inside.

    Of several logits a pixel, that of one channel.
    """

    def __init__(self, model: nn.Module, channel: int = 0) -> None:
        super().__init__()
        self.model = model
        self.channel = channel

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits.select(1, self.channel).sigmoid()


class PlainAttention(nn.Module):
    """Attention as products and a softmax, query, key and value apart: (B, N, D) -> (B, N, D).

    One layer for all three would leave slices and five-dimensional transposes between it and the products, behind
    which OpenVINO does not see attention and computes it unfused. The scale of the scores lies in the query's weights.
    """

    def __init__(self, original: Attention) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        scale = (original.qkv.in_features // original.num_heads) ** -0.5
        self.query, self.key, self.value = (
            _third(original.qkv, part, factor) for part, factor in ((0, scale), (1, 1.0), (2, 1.0))
        )
        self.proj = original.proj

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = (
            layer(x).reshape(b, n, self.num_heads, d // self.num_heads).transpose(1, 2)  # (B, heads, N, d)
            for layer in (self.query, self.key, self.value)
        )
        x = ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(1, 2).reshape(b, n, d)
        projected: Tensor = self.proj(x)
        return projected


def _third(layer: nn.Linear, part: int, factor: float) -> nn.Linear:
    """One of the three layers that lie in one, its outputs times a factor."""
    width = layer.out_features // 3
    rows = slice(part * width, (part + 1) * width)
    single = nn.Linear(layer.in_features, width, bias=layer.bias is not None)
    with torch.no_grad():
        single.weight.copy_(layer.weight[rows] * factor)
        if layer.bias is not None:
            single.bias.copy_(layer.bias[rows] * factor)
    return single


def plain_positions(vit: VisionTransformer, grid: tuple[int, int]) -> Tensor:
    """`VisionTransformer.positions` as two products: -> (1, 1 + h*w, D).

    As one resizing they would come out otherwise: OpenVINO 2026.4 knows neither its antialiasing nor its borders.
    """
    rows, columns = vit.grid_size
    prefix, patches = vit.pos_embed[:, :1], vit.pos_embed[0, 1:].reshape(rows, columns, -1)
    across = patches.transpose(1, 2) @ bicubic_weights(columns, grid[1]).T  # (rows, D, w)
    along = across.permute(2, 1, 0) @ bicubic_weights(rows, grid[0]).T  # (w, D, h)
    return torch.cat([prefix, along.permute(2, 0, 1).reshape(1, grid[0] * grid[1], -1)], dim=1)


def bicubic_weights(old: int, new: int) -> Tensor:
    """What each of `old` samples counts in each of `new` ones, bicubic with antialiasing: -> (new, old), rows sum to 1.

    Keys' kernel with a = -0.5, widened where the grid shrinks, as torch and Pillow have it.
    """
    steps = torch.arange(new, dtype=torch.float32)[:, None]
    ratio = old / (steps.max() + 1)  # not old / new: tracing takes no quotients of free sizes
    offsets = torch.arange(old, dtype=torch.float32) + 0.5 - (steps + 0.5) * ratio
    x = (offsets / ratio.clamp(min=1)).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return weights / weights.sum(1, keepdim=True)


def for_runtimes(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that computes the same, its attention, positions and BatchNorm in plain parts."""
    rewritten = copy.deepcopy(model).cpu().float().eval()
    for module in list(rewritten.modules()):
        if isinstance(module, VisionTransformer):
            object.__setattr__(module, "positions", partial(plain_positions, module))
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, PlainAttention(child))
        if isinstance(module, ConvDown | ConvUp) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return rewritten.eval()
