"""UNeXt-S, the light segmentor that sees vessels differentiably. B batch, C channels, H x W pixels.

Valanarasu & Patel, "UNeXt: MLP-based rapid medical image segmentation network", MICCAI 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.models.input_norm import InputNorm
from vasomim.ops.patches import pad_to_multiple

_REACH = 2
"""Largest shift in pixels: five groups of channels move by -2..2."""


def shift(x: Tensor, dim: int) -> Tensor:
    """Move five groups of channels by -2..2 pixels along `dim` (2 height, 3 width), zeros moving in: (B, C, H, W)."""
    padded = F.pad(x, (0, 0, _REACH, _REACH) if dim == 2 else (_REACH, _REACH, 0, 0))
    groups = padded.chunk(2 * _REACH + 1, dim=1)
    # chunk gives at most five groups (fewer for very few channels); group g moves by g - 2.
    return torch.cat([part.narrow(dim, 2 * _REACH - g, x.shape[dim]) for g, part in enumerate(groups)], dim=1)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ShiftBlock(nn.Module):
    """Tokenised block x + shiftMLP(LayerNorm x): (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.fc1 = nn.Conv2d(dim, dim, 1)  # a linear layer on each pixel
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.fc2 = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.depthwise(self.fc1(shift(self.norm(x), dim=2))))
        mixed: Tensor = x + self.fc2(shift(hidden, dim=3))
        return mixed


def conv_norm(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """A convolution and the BatchNorm behind it: (B, C, H, W) -> (B, C', H, W).

    In evaluation mode BatchNorm is a factor and a shift a channel. They go into the few weights of the convolution, so
    that the frozen segmentor passes over its large maps once less, forwards and backwards.
    """
    if not isinstance(norm, nn.BatchNorm2d) or norm.training:
        normed: Tensor = norm(conv(x))
        return normed
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert conv.bias is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = (conv.bias - norm.running_mean) * scale + norm.bias
    return F.conv2d(x, conv.weight * scale[:, None, None, None], bias, padding=conv.padding)


class ConvDown(nn.Module):
    """3x3 convolution, BatchNorm, 2x max-pooling, ReLU: (B, C, H, W) -> (B, C', H/2, W/2)."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, out_chans, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.max_pool2d(conv_norm(x, self.conv, self.norm), 2))


class TokenDown(nn.Module):
    """Overlapping embedding with stride 2, one block, LayerNorm: (B, C, H, W) -> (B, C', H/2, W/2)."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(in_chans, out_chans, 3, stride=2, padding=1)
        self.embed_norm = ChannelNorm(out_chans)
        self.block = ShiftBlock(out_chans)
        self.norm = ChannelNorm(out_chans)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.block(self.embed_norm(self.embed(x))))
        return out


class ConvUp(nn.Module):
    """3x3 convolution, BatchNorm (or none), bilinear 2x, ReLU: (B, C, H, W) -> (B, C', 2H, 2W)."""

    def __init__(self, in_chans: int, out_chans: int, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, out_chans, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_chans) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = conv_norm(x, self.conv, self.norm)
        return F.relu(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class UNeXt(nn.Module):
    """UNeXt with convolutional stages, two tokenised stages and additive skips.

    Takes images in [0, 1] of any size; sides are padded to multiples of 32 with their edge and cropped back.

    Args:
        in_chans: Image channels.
        num_classes: Logits per pixel.
        widths: Channels of the three convolutional and the two tokenised stages; the default is UNeXt-S.
        mean: Mean of the pixels for `input_norm`.
        std: Their standard deviation.
    """

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 1,
        widths: tuple[int, int, int, int, int] = (8, 16, 32, 64, 128),
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = widths
        self.in_chans = in_chans
        self.input_norm = InputNorm(mean, std)
        self.down = nn.ModuleList([ConvDown(in_chans, w1), ConvDown(w1, w2), ConvDown(w2, w3)])
        self.down.extend([TokenDown(w3, w4), TokenDown(w4, w5)])
        self.up = nn.ModuleList([ConvUp(w5, w4), ConvUp(w4, w3), ConvUp(w3, w2), ConvUp(w2, w1)])
        self.refine = nn.ModuleList([nn.Sequential(ShiftBlock(w), ChannelNorm(w)) for w in (w4, w3)])
        self.last = ConvUp(w1, w1, norm=False)
        self.head = nn.Conv2d(w1, num_classes, 1)
        self.apply(_init_weights)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] -> logits (B, num_classes, H, W).

        Raises:
            ValueError: if the channels differ.
        """
        if images.shape[1] != self.in_chans:
            raise ValueError(f"images have {images.shape[1]} channels, this model takes {self.in_chans}")
        height, width = images.shape[2:]
        x = pad_to_multiple(self.input_norm(images), 32)
        skips: list[Tensor] = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)  # 1/2, 1/4, 1/8, 1/16, 1/32
        for number, stage in enumerate(self.up):
            x = stage(x) + skips[3 - number]
            if number < 2:
                x = self.refine[number](x)
        logits: Tensor = self.head(self.last(x))
        return logits[..., :height, :width]


def _init_weights(module: nn.Module) -> None:
    """He-normal spatial convolutions by fan-out, small normal linear layers, zero biases."""
    if not isinstance(module, nn.Conv2d):
        return
    if module.kernel_size == (1, 1):
        nn.init.trunc_normal_(module.weight, std=0.02)
    else:
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
