"""Grey frames as three equal channels with ImageNet's statistics, as the published code feeds them; to compare with.

The channels hold the same frame, so a trained patch embedding can be folded into one channel without any loss.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from vasomim.models.input_norm import InputNorm, check_floats
from vasomim.models.vit import PatchEmbed, VisionTransformer

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GreyAsColor(InputNorm):
    """(B, 1, H, W) in [0, 1] -> (B, 3, H, W), each channel by ImageNet's statistics; `mean`, `std` are the data's."""

    channel_mean: Tensor
    channel_std: Tensor

    def __init__(self, mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__(mean, std)
        self.register_buffer("channel_mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("channel_std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] -> (B, 3, H, W)."""
        check_floats(images)
        return (images - self.channel_mean) / self.channel_std

    def inverse(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W) in [0, 1]: the mean over channels, which may differ in a reconstruction."""
        return (images * self.channel_std + self.channel_mean).mean(1, keepdim=True)


@torch.no_grad()
def fold_channels(encoder: VisionTransformer, norm: GreyAsColor) -> VisionTransformer:
    """A copy of a three-channel encoder that takes one, normalised by the data's mean and deviation; same tokens."""
    folded = copy.deepcopy(encoder)
    kernel, bias = encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias
    assert bias is not None
    scale = (norm.std / norm.channel_std).to(kernel)
    offset = ((norm.mean - norm.channel_mean) / norm.channel_std).to(kernel)
    embed = PatchEmbed(encoder.patch_size, 1, encoder.embed_dim).to(kernel)
    embed.proj.weight.copy_((kernel * scale).sum(1, keepdim=True))
    assert embed.proj.bias is not None
    embed.proj.bias.copy_(bias + (kernel * offset).sum((1, 2, 3)))
    folded.patch_embed, folded.in_chans = embed, 1
    return folded
