"""Segmentation model: any size in, the same size out, everything trained, frames apart."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.errors import MisuseError
from vasomim.models.input_norm import InputNorm
from vasomim.models.registry import create_model
from vasomim.models.segmentation import SegmentationModel, tap_indices
from vasomim.models.vit import VisionTransformer


def _model(**kwargs):
    torch.manual_seed(0)
    return create_model("vit_test_unet", img_size=64, **kwargs).eval()


def test_tap_indices__spread_over_the_depth_and_end_at_the_last():
    assert tap_indices(12) == [2, 5, 8, 11]
    assert tap_indices(24) == [5, 11, 17, 23]
    assert tap_indices(2) == [0, 1]
    assert tap_indices(1) == [0]
    assert tap_indices(5) == [1, 2, 3, 4]


@pytest.mark.parametrize("size", [(64, 64), (100, 132), (8, 8), (65, 31), (5, 6)])
def test_forward__output_has_the_size_of_the_image(size):
    assert _model()(torch.rand(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize(("name", "patch"), [("vit_test_unet", 16), ("vit_test_unet", 14), ("vit_test_unet", 4)])
def test_forward__other_patch_sizes(name, patch):
    model = create_model(name, img_size=4 * patch, patch_size=patch)
    assert model(torch.rand(1, 1, 60, 50)).shape == (1, 1, 60, 50)


def test_forward__classes_and_channels():
    model = _model(in_chans=3, num_classes=26)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 26, 32, 32)
    with pytest.raises(ValueError, match="images have 1 channels, this model takes 3"):
        model(torch.rand(1, 1, 32, 32))


def test_forward__gradient_reaches_everything():
    model = _model(drop_path_rate=0.0).train()
    model(torch.rand(2, 1, 64, 64)).square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_forward__frames_do_not_depend_on_each_other_even_in_training():
    model, images = _model().train(), torch.rand(4, 1, 64, 64)
    assert_close(model(images)[2:3], model(images[2:3]), rtol=1e-4, atol=1e-5)


def test_forward__single_pixels_reach_the_output():
    """The convolutional path works at full resolution: one pixel moves its own logit most."""
    model = _model()
    images = torch.full((1, 1, 64, 64), 0.5)
    changed = images.clone()
    changed[..., 33, 27] = 0.0
    difference = (model(changed) - model(images)).abs()[0, 0]
    row, column = divmod(int(difference.argmax()), 64)
    assert abs(row - 33) <= 2
    assert abs(column - 27) <= 2


def test_forward__padding_is_the_edge_repeated():
    model, images = _model(), torch.rand(1, 1, 61, 64)
    padded = torch.cat([images, images[..., -1:, :].expand(-1, -1, 3, -1)], dim=2)
    assert_close(model(images), model(padded)[..., :61, :])


def test_forward__normalises_with_its_statistics():
    images = torch.rand(1, 1, 32, 32)
    a, b = _model(), _model(mean=0.1, std=0.7)
    assert_close(b(images), a((images - 0.1) / 0.7 * 0.25 + 0.5), rtol=1e-4, atol=1e-4)


def test_segmentation_model__takes_over_the_normalisation_of_its_encoder():
    encoder = VisionTransformer(32, 8, 1, 32, 2, 2, fixed_positions=True)
    encoder.input_norm = InputNorm(0.3, 0.1, persistent=False)
    model = SegmentationModel(encoder, widths=(8, 8, 16), bottleneck=16)
    assert model.input_norm.mean.item() == pytest.approx(0.3)
    assert model.encoder.input_norm is None
    assert model.encoder.pos_embed.requires_grad  # labels may move what pre-training had fixed


def test_segmentation_model__starts_at_the_share_of_vessel():
    assert _model()(torch.rand(2, 1, 64, 64)).sigmoid().mean().item() == pytest.approx(0.05, abs=0.03)


def test_segmentation_model__learns_a_thin_vessel():
    model = _model().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    images, target = torch.full((2, 1, 32, 32), 0.7), torch.zeros(2, 1, 32, 32)
    images[..., 15:17] = 0.2
    target[..., 15:17] = 1
    for _ in range(20):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.08  # 0.23 is the entropy of never looking at the image


@pytest.mark.parametrize("size", [(64, 64), (100, 132), (65, 31), (5, 6)])
def test_strided__output_has_the_size_of_the_image(size):
    assert _model(stride=2, num_classes=2)(torch.rand(2, 1, *size)).shape == (2, 2, *size)


def test_strided__the_encoder_sees_half_the_size():
    model, seen = _model(stride=2), []
    model.encoder.patch_embed.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    model(torch.rand(1, 1, 64, 96))
    assert seen == [(1, 1, 32, 48)]
    assert model.encoder.pos_embed.shape[1] == 1 + (32 // 8) ** 2


def test_strided__gradient_reaches_everything():
    model = _model(stride=2, drop_path_rate=0.0).train()
    model(torch.rand(2, 1, 64, 64)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_strided__convolutions_see_what_shrinking_would_hide():
    """Two frames with the same averages of 2 x 2 pixels are the same to the ViT, not to the stem."""
    model, even, stripes = _model(stride=2), torch.full((1, 1, 64, 64), 0.5), torch.full((1, 1, 64, 64), 0.4)
    stripes[..., ::2] = 0.6
    assert (model(even) - model(stripes)).abs().max() > 1e-3


def test_strided__refuses_other_strides():
    with pytest.raises(MisuseError, match="stride must be 1 or 2, got 4"):
        _model(stride=4)
