"""Vessel segmentation: a pre-trained ViT, a U-Net-like decoder and a full-resolution convolutional path."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.models.decoders import UNetDecoder
from vasomim.models.input_norm import take_input_norm
from vasomim.models.vit import VisionTransformer
from vasomim.ops.patches import pad_to_multiple

_VESSEL_LOGIT = math.log(0.05 / 0.95)
"""Where the logits start: vessels cover about 5 % of the pixels. From 50 %, a short fine-tuning at usual learning rates
spends most of its steps on getting down."""


def tap_indices(depth: int) -> list[int]:
    """Four blocks to take features from, evenly over the depth and the last one always: 12 -> [2, 5, 8, 11]."""
    return sorted({math.ceil(depth * (i + 1) / 4) - 1 for i in range(4)})


def start_at_vessel_share(head: nn.Conv2d) -> None:
    """Make a fresh head predict the usual share of vessel everywhere."""
    assert head.bias is not None
    nn.init.constant_(head.bias, _VESSEL_LOGIT)


class SegmentationModel(nn.Module):
    """ViT features of several depths joined with convolutional features of every resolution.

    Takes images in [0, 1] of any size; sides are padded with their edge and cropped back.

    With `stride` 2 the convolutions look at the image itself but compute at half its size, and the ViT sees it shrunk
    to half: frames of 512 px at the scale that a ViT was pre-trained at, for the price of 256 px.

    Args:
        encoder: The ViT; its positions are resized to the image.
        num_classes: Logits per pixel.
        stride: Pixels of the image along a side for one of the largest feature maps, 1 or 2.
        widths: Channels of the decoder at 1/1, 1/2, 1/4, 1/8 of those maps.
        bottleneck: Its channels at patch resolution.
        mean: Mean of the pixels for `input_norm`, taken from the encoder where that has its own.
        std: Their standard deviation.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        num_classes: int = 1,
        stride: int = 1,
        widths: Sequence[int] = (16, 24, 64, 96),
        bottleneck: int = 128,
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride must be 1 or 2, got {stride}")
        self.stride = stride
        self.input_norm = take_input_norm(encoder, mean, std)
        self.encoder = encoder
        encoder.pos_embed.requires_grad_(True)  # pre-training fixes them; labels may move them
        self.taps = tap_indices(encoder.depth)
        self.multiple = stride * math.lcm(encoder.patch_size, 2 ** (len(widths) - 1))
        self.decoder = UNetDecoder(encoder.embed_dim, len(self.taps), encoder.in_chans, widths, bottleneck, stride)
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        start_at_vessel_share(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], any size -> logits (B, num_classes, H, W).

        Raises:
            ValueError: if the channels differ from the encoder's.
        """
        height, width = images.shape[2:]
        x = pad_to_multiple(self.input_norm(images), self.multiple)
        seen = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        maps = self.encoder.forward_intermediates(seen, self.taps, norm=True)
        logits: Tensor = self.head(self.decoder(x, maps))
        if self.stride > 1:
            logits = F.interpolate(logits, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
