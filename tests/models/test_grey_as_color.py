"""Three equal channels: the published input, and that folding it into one loses nothing."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vasomim.models.grey_as_color import GreyAsColor, fold_channels
from vasomim.models.input_norm import InputNorm
from vasomim.models.registry import create_model
from vasomim.models.vit import VisionTransformer
from vasomim.ops.patches import normalize_patches, patchify


def test_grey_as_color__inverse_gives_the_frame_back() -> None:
    images, norm = torch.rand(2, 1, 16, 16), GreyAsColor(0.4, 0.2)
    assert norm(images).shape == (2, 3, 16, 16)
    assert_close(norm.inverse(norm(images)), images)


def test_grey_as_color__half_of_the_target_variance_is_an_offset() -> None:
    """The published defect: in flat patches most of what is to be predicted is which channel a value is of."""
    frame = 0.45 + 0.02 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    targets = normalize_patches(patchify(GreyAsColor()(frame), 16))[0].reshape(1, 16, 256, 3)
    between_channels = targets.mean(2, keepdim=True).var(3, correction=0).mean()
    assert between_channels > 0.4


def test_fold_channels__same_tokens_from_one_channel() -> None:
    torch.manual_seed(0)
    encoder = create_model("vit_test", in_chans=3, img_size=32)
    assert isinstance(encoder, VisionTransformer)
    encoder.eval()
    images, norm = torch.rand(2, 1, 32, 32), GreyAsColor(0.37, 0.21)
    folded = fold_channels(encoder, norm)
    assert folded.in_chans == 1
    one = folded.forward_features(InputNorm(0.37, 0.21)(images))
    assert_close(one, encoder.forward_features(norm(images)), atol=1e-5, rtol=1e-5)
    assert encoder.patch_embed.proj.weight.shape[1] == 3, "the original stays"
