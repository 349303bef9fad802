"""Losses: what must not change them, and where their gradients go."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from vasomim.losses import (
    absolute_reconstruction_loss,
    consistency_loss,
    reconstruction_loss,
    soft_cldice_loss,
    soft_dice_loss,
    soft_skeleton,
)


def _mask(b=2, n=8, hidden=4):
    mask = torch.zeros(b, n, dtype=torch.bool)
    mask[:, :hidden] = True
    return mask[:, torch.randperm(n)]


def _logits(mask):
    """Logits of certainty: probability 0 or 1 to float32."""
    return mask * 200.0 - 100.0


def _line(width=1, size=24):
    """A horizontal vessel of the given width: (1, 1, H, W)."""
    image = torch.zeros(1, 1, size, size)
    start = size // 2 - width // 2
    image[..., start : start + width, 3:-3] = 1
    return image


def test_reconstruction_loss__is_the_mean_over_hidden_patches():
    pred, target, mask = torch.rand(2, 8, 5), torch.rand(2, 8, 5), _mask()
    assert_close(reconstruction_loss(pred, target, mask), (pred[mask] - target[mask]).square().mean())


@pytest.mark.parametrize("value", [0.0, 1e30, float("inf"), float("nan")])
def test_reconstruction_loss__visible_targets_change_nothing(value):
    pred, target, mask = torch.rand(2, 8, 5, requires_grad=True), torch.rand(2, 8, 5), _mask()
    loss = reconstruction_loss(pred, target, mask)
    (gradient,) = torch.autograd.grad(loss, pred)
    other = torch.where(mask[..., None], target, value)
    changed = reconstruction_loss(pred, other, mask)
    (changed_gradient,) = torch.autograd.grad(changed, pred)
    assert torch.equal(loss, changed)
    assert torch.equal(gradient, changed_gradient)
    assert bool((gradient[~mask] == 0).all())


def test_reconstruction_loss__nothing_hidden_is_0():
    assert reconstruction_loss(torch.rand(1, 4, 3), torch.rand(1, 4, 3), torch.zeros(1, 4, dtype=torch.bool)) == 0


def test_reconstruction_loss__gradient():
    pred, target, mask = (
        torch.rand(1, 6, 3, dtype=torch.float64, requires_grad=True),
        torch.rand(1, 6, 3).double(),
        _mask(1, 6),
    )
    assert gradcheck(lambda x: reconstruction_loss(x, target, mask), pred)


def test_consistency_loss__target_gets_no_gradient():
    reconstructed = torch.randn(2, 1, 8, 8, requires_grad=True)
    original = torch.randn(2, 1, 8, 8, requires_grad=True)
    consistency_loss(reconstructed, original).backward()
    assert reconstructed.grad is not None
    assert bool((reconstructed.grad != 0).any())
    assert original.grad is None


def test_consistency_loss__is_lowest_at_the_original_and_there_the_entropy():
    original = torch.randn(2, 1, 8, 8)
    p = original.sigmoid()
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
    loss = consistency_loss(original, original)
    assert_close(loss, entropy)
    for shift in (-0.5, 0.1, 2.0):
        assert consistency_loss(original + shift, original) > loss


def test_consistency_loss__huge_logits_are_finite():
    assert consistency_loss(torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])).isfinite()


def test_soft_dice_loss__perfect_wrong_and_empty():
    target = _line(3)
    assert soft_dice_loss(_logits(target), target).item() == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(_logits(1 - target), target).item() == pytest.approx(1, abs=1e-6)
    nothing = torch.zeros_like(target)
    assert soft_dice_loss(_logits(nothing), nothing).item() == pytest.approx(0, abs=1e-6)


def test_soft_dice_loss__equals_its_formula_over_the_whole_batch():
    logits, target = torch.randn(3, 2, 8, 8), (torch.rand(3, 2, 8, 8) > 0.8).float()
    p = logits.sigmoid()
    expected = 1 - (2 * (p * target).sum() + 1e-5) / (p.sum() + target.sum() + 1e-5)
    assert_close(soft_dice_loss(logits, target), expected)
    order = torch.randperm(3)
    assert_close(soft_dice_loss(logits[order], target[order]), expected)  # not a mean over frames


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_soft_cldice_loss__a_vessel_against_itself_is_0(width):
    target = _line(width)
    assert soft_cldice_loss(_logits(target), target, iterations=5).item() == pytest.approx(0, abs=1e-5)


def test_soft_cldice_loss__width_does_not_matter_but_a_gap_does():
    thin, wide = _line(1), _line(5)
    broken = thin.clone()
    broken[..., 10:14] = 0
    same = soft_cldice_loss(_logits(wide), _line(3), iterations=4)
    assert same < 0.06
    assert soft_dice_loss(_logits(wide), _line(3)) > 0.2
    assert soft_cldice_loss(_logits(broken), thin, iterations=4) > same + 0.04


def test_soft_cldice_loss__missed_vessel_and_empty_frame():
    nothing, vessel = torch.zeros(1, 1, 24, 24), _line(2)
    assert soft_cldice_loss(_logits(nothing), vessel, iterations=3) > 0.85
    assert soft_cldice_loss(_logits(nothing), nothing, iterations=3).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("move", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
def test_soft_cldice_loss__does_not_depend_on_orientation(move):
    logits, target = torch.randn(2, 1, 16, 16), (torch.rand(2, 1, 16, 16) > 0.6).float()
    assert_close(soft_cldice_loss(move(logits), move(target), 3), soft_cldice_loss(logits, target, 3))


def test_soft_skeleton__of_a_wide_line_is_its_thin_middle():
    skeleton = soft_skeleton(_line(5), iterations=4)
    assert skeleton[0, 0, 12, 8:-8].min() == 1
    assert skeleton[0, 0, :, 12].sum() == 1
    assert bool((skeleton <= _line(5)).all())


def test_soft_skeleton__needs_as_many_iterations_as_the_radius():
    assert soft_skeleton(_line(9), iterations=2)[0, 0, :, 12].sum() == 0
    assert soft_skeleton(_line(9), iterations=5)[0, 0, :, 12].sum() > 0


def test_losses__gradients():
    logits = torch.randn(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    target = (torch.rand(1, 1, 7, 7) > 0.5).double()
    assert gradcheck(lambda x: soft_dice_loss(x, target), logits)
    assert gradcheck(lambda x: consistency_loss(x, target), logits)
    assert gradcheck(lambda x: soft_cldice_loss(x, target, 2), logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses__half_precision_is_computed_in_float32(dtype):
    logits, target = torch.randn(1, 1, 64, 64).to(dtype), (torch.rand(1, 1, 64, 64) > 0.9).to(dtype)
    for loss in (soft_dice_loss, consistency_loss, soft_cldice_loss):
        value = loss(logits, target)
        assert value.dtype == torch.float32
        assert_close(value, loss(logits.float(), target.float()))


@pytest.mark.parametrize("loss", [soft_dice_loss, consistency_loss, soft_cldice_loss])
def test_losses__refuse_to_broadcast(loss):
    with pytest.raises(ValueError, match="must have the same shape"):
        loss(torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8))


def test_losses__refuse_other_bad_arguments():
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        soft_cldice_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), iterations=0)
    with pytest.raises(ValueError, match="mask must be bool of shape"):
        reconstruction_loss(torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), torch.zeros(1, 5, dtype=torch.bool))


@pytest.mark.parametrize("loss", [reconstruction_loss, absolute_reconstruction_loss])
@pytest.mark.parametrize("mask", [torch.ones(2, 4), torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 5) > 0])
def test_reconstruction_losses__need_a_bool_mask(loss, mask):
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(2, 4\), got torch\.\w+ of shape"):
        loss(torch.rand(2, 4, 3), torch.rand(2, 4, 3), mask)
