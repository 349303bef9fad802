"""The same network, written so that inference runtimes recognise its parts.

B batch, N tokens, D width, H x W pixels.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from vasomim.models.unext import ConvDown, ConvUp
from vasomim.models.vit import Attention


class Segmenter(nn.Module):
    """What is exported: images (B, 1, H, W) in [0, 1] -> vessel probability (B, H, W); normalisation inside."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits.squeeze(1).sigmoid()


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


def for_runtimes(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that computes the same: attention in plain parts, BatchNorm inside convolutions."""
    rewritten = copy.deepcopy(model).cpu().float().eval()
    for module in list(rewritten.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, PlainAttention(child))
        if isinstance(module, ConvDown | ConvUp) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return rewritten.eval()
