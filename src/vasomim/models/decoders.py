"""Convolutional parts that bring a ViT's patch features back to pixels. B batch, C channels, H x W pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _groups(channels: int) -> int:
    """Groups of at least 8 channels: smaller ones come close to InstanceNorm, which learns at half the pace here."""
    most = min(8, max(1, channels // 8))
    return max(count for count in range(1, most + 1) if channels % count == 0)


class ConvNormAct(nn.Sequential):
    """3x3 convolution, GroupNorm, ReLU: (B, C, H, W) -> (B, C', H/stride, W/stride).

    GroupNorm, not BatchNorm: a batch computed in parts, on several devices or of one frame then gives the same result.
    """

    def __init__(self, in_chans: int, out_chans: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_chans, out_chans, 3, stride, padding=1, bias=False),
            nn.GroupNorm(_groups(out_chans), out_chans),
            nn.ReLU(inplace=True),
        )


class ConvPyramid(nn.Module):
    """Features of the image itself at 1/1, 1/2, 1/4, ...: (B, C, H, W) -> list of (B, widths[i], H/2^i, W/2^i).

    A patch of 16 pixels cannot place a vessel of 2; this path can. A `stride` of the stem divides all sizes.
    """

    def __init__(self, in_chans: int, widths: Sequence[int], stride: int = 1) -> None:
        super().__init__()
        first = ConvNormAct(in_chans, widths[0], stride)
        self.stem = first if stride == 1 else nn.Sequential(first, ConvNormAct(widths[0], widths[0]))
        pairs = itertools.pairwise(widths)
        self.down = nn.ModuleList(nn.Sequential(ConvNormAct(a, b, stride=2), ConvNormAct(b, b)) for a, b in pairs)

    def forward(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = [self.stem(images)]
        for stage in self.down:
            features.append(stage(features[-1]))
        return features


class TapFusion(nn.Module):
    """Fuse maps from several depths of a ViT: list of (B, D, h, w) -> (B, width, h, w)."""

    def __init__(self, embed_dim: int, num_taps: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(num_taps * embed_dim, width, 1)
        self.mix = ConvNormAct(width, width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        fused: Tensor = self.mix(self.project(torch.cat(list(maps), dim=1)))
        return fused


class UpFusion(nn.Module):
    """Bring deep features to the size of a skip and fuse both: (B, C, h, w), (B, S, H, W) -> (B, out, H, W)."""

    def __init__(self, in_chans: int, skip_chans: int, out_chans: int, num_convs: int = 2) -> None:
        super().__init__()
        # A 1x1 convolution commutes with bilinear upsampling and is four times cheaper before it.
        self.reduce = nn.Conv2d(in_chans, out_chans, 1)
        convs = [ConvNormAct(out_chans + skip_chans, out_chans)]
        convs.extend(ConvNormAct(out_chans, out_chans) for _ in range(num_convs - 1))
        self.fuse = nn.Sequential(*convs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(x), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.fuse(torch.cat([up, skip], dim=1))
        return fused


class UNetDecoder(nn.Module):
    """U-Net-like decoder from ViT maps and a convolutional pyramid to full resolution.

    Args:
        embed_dim: Width D of the ViT.
        num_taps: ViT maps given.
        in_chans: Image channels.
        widths: Channels at 1/1, 1/2, 1/4, 1/8; few where there are many pixels.
        bottleneck: Channels at the ViT's own resolution.
        stride: Of the pyramid's stem: 1/1 is then 1/stride of the image.
    """

    def __init__(
        self,
        embed_dim: int,
        num_taps: int,
        in_chans: int = 1,
        widths: Sequence[int] = (16, 24, 64, 96),
        bottleneck: int = 128,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.pyramid = ConvPyramid(in_chans, widths, stride)
        self.taps = TapFusion(embed_dim, num_taps, bottleneck)
        inputs = (*widths[1:], bottleneck)
        self.up = nn.ModuleList(
            UpFusion(deep, width, width, num_convs=1 if level == 0 else 2)
            for level, (deep, width) in reversed(list(enumerate(zip(inputs, widths, strict=True))))
        )

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Normalised images (B, C, H, W) and ViT maps (B, D, h, w) -> (B, widths[0], H, W)/stride."""
        x: Tensor = self.taps(maps)
        for up, skip in zip(self.up, reversed(self.pyramid(images)), strict=True):
            x = up(x, skip)
        return x
