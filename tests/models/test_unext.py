"""UNeXt-S: the published size, the shifts by their definition, any image size."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vasomim.models.unext import ConvUp, ShiftBlock, UNeXt, conv_norm, shift


def _small(**kwargs):
    torch.manual_seed(0)
    return UNeXt(**{"widths": (4, 6, 8, 12, 16), **kwargs})


@pytest.mark.parametrize(("in_chans", "count"), [(1, 253_417), (3, 253_561)])
def test_unext__has_the_published_number_of_parameters(in_chans, count):
    assert sum(p.numel() for p in UNeXt(in_chans).parameters()) == count


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("channels", [5, 12, 64])
def test_shift__equals_padding_rolling_and_cropping(dim, channels):
    x = torch.rand(2, channels, 6, 7)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    groups = torch.chunk(padded, 5, dim=1)
    rolled = torch.cat([torch.roll(part, s, dim) for part, s in zip(groups, range(-2, 3), strict=False)], dim=1)
    assert torch.equal(shift(x, dim), rolled[:, :, 2:-2, 2:-2])


def test_shift_block__with_zero_output_is_the_identity():
    block = ShiftBlock(10)
    torch.nn.init.zeros_(block.fc2.weight)
    torch.nn.init.zeros_(block.fc2.bias)
    x = torch.rand(1, 10, 4, 4)
    assert torch.equal(block(x), x)


def test_conv_up__doubles_the_size():
    assert ConvUp(4, 2)(torch.rand(1, 4, 3, 5)).shape == (1, 2, 6, 10)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (100, 132), (33, 65), (5, 7)])
def test_unext__output_has_the_size_of_the_image(size):
    assert _small().eval()(torch.rand(1, 1, *size)).shape == (1, 1, *size)


def test_unext__classes_and_channels():
    assert _small(in_chans=3, num_classes=4)(torch.rand(2, 3, 32, 32)).shape == (2, 4, 32, 32)
    with pytest.raises(ValueError, match="images have 1 channels, this model takes 3"):
        _small(in_chans=3)(torch.rand(1, 1, 32, 32))


def test_unext__gradient_reaches_everything_and_the_image():
    model, images = _small(), torch.rand(2, 1, 64, 64, requires_grad=True)
    model(images).square().sum().backward()
    # A bias before BatchNorm shifts what is centred again: its gradient is zero but for rounding.
    idle = {n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    assert idle <= {n for n, _ in model.named_parameters() if n.endswith("conv.bias")}
    assert images.grad is not None
    assert bool((images.grad != 0).any())


def test_unext__normalises_with_its_statistics():
    images = torch.rand(1, 1, 32, 32)
    a, b = _small().eval(), _small(mean=0.1, std=0.7).eval()
    assert_close(b(images), a((images - 0.1) / 0.7 * 0.25 + 0.5), rtol=1e-4, atol=1e-5)


def test_unext__learns_a_vessel():
    model = _small(widths=(8, 8, 8, 12, 16))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    images, target = torch.full((2, 1, 32, 32), 0.7), torch.zeros(2, 1, 32, 32)
    images[..., 14:18] = 0.2
    target[..., 14:18] = 1
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.15  # 0.38 is the entropy of never looking at the image


def test_conv_norm__folds_batch_norm_in_evaluation_and_leaves_training_alone() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.normal_(norm.bias)
    for _ in range(5):
        conv_norm(torch.randn(4, 2, 8, 8) + 1, conv, norm)
    assert (norm.running_mean != 0).all(), "training updates the statistics"
    conv.eval(), norm.eval()
    one, two = (torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    folded, plain = conv_norm(one, conv, norm), norm(conv(two))
    assert_close(folded, plain)
    folded.square().sum().backward()
    plain.square().sum().backward()
    assert_close(one.grad, two.grad)
    assert torch.equal(conv_norm(one, conv, nn.Identity()), conv(one))
