"""Plain convolutional U-Net as nnU-Net configures it, what a segmenter is trained from scratch with.

Isensee et al., "nnU-Net", Nature Methods 2021; the 2-D configuration of its second version: two 3x3 convolutions a
stage, InstanceNorm, leaky ReLU (0.01), strided convolutions down, transposed ones up, logits at every decoder stage but
the coarsest.
Ours differs in the start of the logits (`models.segmentation`) and in what surrounds it: optimiser, augmentation,
losses and inference are those of all models here. B batch, C channels, H x W pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vasomim.models.input_norm import InputNorm
from vasomim.models.segmentation import start_at_vessel_share
from vasomim.ops.patches import pad_to_multiple

SMALLEST_SIDE = 4
"""Features are halved while their sides stay at least this long."""


def stage_widths(img_size: int, first: int = 32, most: int = 512) -> tuple[int, ...]:
    """Channels of each stage: doubled from `first` to at most `most`, as many stages as the size allows.

    224 px: 32, 64, 128, 256, 512, 512; 512 px: two stages of 512 more.
    """
    stages = 1
    while img_size // 2**stages >= SMALLEST_SIDE:
        stages += 1
    return tuple(min(first * 2**stage, most) for stage in range(stages))


class ConvStage(nn.Sequential):
    """Two times 3x3 convolution, InstanceNorm, leaky ReLU: (B, C, H, W) -> (B, C', H/stride, W/stride)."""

    def __init__(self, in_chans: int, out_chans: int, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for chans, step in ((in_chans, stride), (out_chans, 1)):
            layers += [
                nn.Conv2d(chans, out_chans, 3, step, padding=1),
                nn.GroupNorm(out_chans, out_chans),  # InstanceNorm by its other name: twice as fast on a CPU
                nn.LeakyReLU(0.01, inplace=True),
            ]
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """Encoder of `ConvStage`s, mirrored decoder with skips, a 1x1 head at every decoder stage but the coarsest.

    Takes images in [0, 1] of any size; sides are padded with their edge and cropped back.

    Args:
        in_chans: Image channels.
        num_classes: Logits per pixel.
        widths: Channels of each stage, the first at full resolution.
        mean: Mean of the pixels for `input_norm`.
        std: Their standard deviation.
    """

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.input_norm = InputNorm(mean, std)
        self.multiple = 2 ** (len(widths) - 1)
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList([ConvStage(in_chans, widths[0])])
        self.down.extend(ConvStage(shallow, deep, stride=2) for shallow, deep in pairs)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, 2) for shallow, deep in reversed(pairs))
        self.up = nn.ModuleList(ConvStage(2 * shallow, shallow) for shallow, _ in reversed(pairs))
        supervised = widths[: max(len(pairs) - 1, 1)]  # a head that no loss sees would stop training on several devices
        self.heads = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in reversed(supervised))
        self.apply(_init_weights)
        for head in self.heads:
            assert isinstance(head, nn.Conv2d)
            start_at_vessel_share(head)

    def forward_scales(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) in [0, 1] -> logits of each head, (B, num_classes, H/2^i, W/2^i), i = 0, 1, ...

        Raises:
            ValueError: if the channels differ, or the sides are no multiples of `multiple`.
        """
        if any(side % self.multiple for side in images.shape[2:]):
            raise ValueError(f"for all scales, sides must be multiples of {self.multiple}, got {tuple(images.shape)}")
        finest_first = zip(reversed(self.heads), reversed(self._features(images)), strict=False)
        return [head(x) for head, x in finest_first]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], any size -> logits (B, num_classes, H, W).

        Raises:
            ValueError: if the channels differ.
        """
        height, width = images.shape[2:]
        single = max(height, width) <= self.multiple  # a single coarsest pixel: InstanceNorm would leave nothing of it
        x = pad_to_multiple(images, self.multiple * (2 if single else 1))
        logits: Tensor = self.heads[-1](self._features(x)[-1])
        return logits[..., :height, :width]

    def _features(self, images: Tensor) -> list[Tensor]:
        """Features of the decoder stages, the coarsest first."""
        if images.shape[1] != self.in_chans:
            raise ValueError(f"images have {images.shape[1]} channels, this model takes {self.in_chans}")
        x = self.input_norm(images)
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        features = []
        for grow, stage, skip in zip(self.grow, self.up, skips[-2::-1], strict=True):
            x = stage(torch.cat([grow(x), skip], dim=1))
            features.append(x)
        return features


def _init_weights(module: nn.Module) -> None:
    """He-normal convolutions for a leaky ReLU, zero biases."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
