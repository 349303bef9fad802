"""The plain U-Net: nnU-Net's configuration, logits at every scale, any size."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vasomim.errors import MisuseError
from vasomim.models.registry import create_model
from vasomim.models.unet import PlainUNet, stage_widths


def make(img_size: int = 64, seed: int = 0) -> PlainUNet:
    torch.manual_seed(seed)
    model = create_model("unet_test", img_size=img_size)
    assert isinstance(model, PlainUNet)
    return model


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (224, (32, 64, 128, 256, 512, 512)),
        (512, (32, 64, 128, 256, 512, 512, 512, 512)),
        (256, (32, 64, 128, 256, 512, 512, 512)),
        (8, (32, 64)),
    ],
)
def test_stage_widths__are_those_nnunet_plans(size: int, widths: tuple[int, ...]) -> None:
    assert stage_widths(size) == widths


def test_unet_plain__has_the_layers_of_nnunet() -> None:
    with torch.device("meta"):
        model = create_model("unet_plain", img_size=224)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.ConvTranspose2d) == 5
    assert kinds.count(nn.GroupNorm) == kinds.count(nn.LeakyReLU) == 2 * (6 + 5)
    norms = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert all(norm.num_groups == norm.num_channels for norm in norms), "each channel by itself, as InstanceNorm"
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert sum(conv.stride == (2, 2) for conv in convs) == 5, "no pooling"
    assert sum(conv.kernel_size == (1, 1) for conv in convs) == 4, "a head at every decoder stage but the coarsest"
    # Summed by hand: encoder, transposed convolutions, decoder, heads.
    w = (32, 64, 128, 256, 512, 512)
    pairs = list(itertools.pairwise(w))
    stages = [(1, 32), *pairs, *((2 * shallow, shallow) for shallow, _ in pairs)]
    expected = sum(9 * a * b + b + 9 * b * b + b + 4 * b for a, b in stages)
    expected += sum(4 * deep * shallow + shallow for shallow, deep in pairs) + sum(width + 1 for width in w[:4])
    assert sum(weight.numel() for weight in model.parameters()) == expected


def test_forward_scales__halve_from_full_size() -> None:
    model, images = make(), torch.rand(2, 1, 64, 64)
    scales = model.forward_scales(images)
    assert [tuple(logits.shape) for logits in scales] == [(2, 1, 64 >> level, 64 >> level) for level in range(3)]
    assert torch.equal(scales[0], model(images))
    with pytest.raises(ValueError, match="multiples of 16"):
        model.forward_scales(torch.rand(1, 1, 40, 64))


@pytest.mark.parametrize("shape", [(70, 50), (16, 16), (5, 9), (64, 16)])
def test_plain_unet__takes_any_size(shape: tuple[int, int]) -> None:
    logits = make()(torch.rand(1, 1, *shape))
    assert logits.shape == (1, 1, *shape)
    assert torch.isfinite(logits).all()


def test_plain_unet__a_frame_does_not_depend_on_its_batch() -> None:
    model, images = make(), torch.rand(3, 1, 64, 64)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_plain_unet__starts_near_the_usual_share_of_vessel_and_learns() -> None:
    model = make(seed=1)
    assert model.heads[-1].bias.item() == pytest.approx(-2.9444, abs=1e-3)  # type: ignore[union-attr,operator]
    images = F.interpolate(torch.rand(2, 1, 8, 8), size=64, mode="bilinear")
    target = (images < 0.4).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(images), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_plain_unet__checks_channels_and_arguments() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        make()(torch.rand(1, 3, 64, 64))
    with pytest.raises(MisuseError, match="cannot make unet_test"):
        create_model("unet_test", drop_path_rate=0.1)
