"""Masks of the methods to compare with."""

from __future__ import annotations

import pytest
import torch

from vasomim.ops.baseline_masks import hardest_mask, mask_and_throw, some_of, unit_mask
from vasomim.ops.masking import num_hidden, random_mask

B, L = 5, 64


def noise(count: int = L, rows: int = B, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("unit", [1, 2, 4])
def test_unit_mask__hides_whole_squares(unit: int) -> None:
    units = (8 // unit) ** 2
    mask = unit_mask((8, 8), unit, 0.6, noise(units)).reshape(B, 8, 8)
    blocks = mask.reshape(B, 8 // unit, unit, 8 // unit, unit).float().mean((2, 4))
    assert ((blocks == 0) | (blocks == 1)).all()
    assert blocks.sum((1, 2)).tolist() == [num_hidden(units, 0.6)] * B


def test_unit_mask__of_single_patches_is_the_random_mask() -> None:
    assert torch.equal(unit_mask((8, 8), 1, 0.5, noise()), random_mask(B, L, 0.5, noise=noise()))


def test_unit_mask__published_count() -> None:
    mask = unit_mask((14, 14), 2, 0.6, noise(49))
    assert mask.sum(1).tolist() == [4 * 30] * B  # ceil(0.6 * 49) units of four patches


def test_unit_mask__refuses_a_grid_that_does_not_divide() -> None:
    with pytest.raises(ValueError, match="no multiple of mask units"):
        unit_mask((8, 7), 2, 0.5, noise())


def test_hardest_mask__hides_the_hardest_and_others_at_random() -> None:
    scores = noise(seed=1)
    mask = hardest_mask(scores, 0.75, 0.5, noise())
    hidden = num_hidden(L, 0.75)
    assert mask.sum(1).tolist() == [hidden] * B
    top = scores.argsort(dim=1, descending=True)
    assert mask.gather(1, top[:, : hidden // 2]).all()
    rest = mask.gather(1, top[:, hidden // 2 :])
    assert rest.any(1).all()
    assert not rest.all(1).any()


def test_hardest_mask__share_0_is_random_and_share_1_the_hardest_alone() -> None:
    scores = noise(seed=1)
    assert torch.equal(hardest_mask(scores, 0.5, 0.0, noise()), random_mask(B, L, 0.5, noise=noise()))
    assert hardest_mask(scores, 0.5, 1.0, noise()).gather(1, scores.argsort(dim=1, descending=True)[:, :32]).all()
    # Only the order of the scores counts.
    assert torch.equal(hardest_mask(scores, 0.5, 0.7, noise()), hardest_mask(scores.exp() * 9 - 4, 0.5, 0.7, noise()))


def test_mask_and_throw__counts_and_disjoint() -> None:
    hidden, thrown = mask_and_throw(noise(seed=1), 0.45, 0.4, noise())
    assert not (hidden & thrown).any()
    assert hidden.sum(1).tolist() == [num_hidden(L, 0.45)] * B
    assert (hidden | thrown).sum(1).tolist() == [num_hidden(L, 0.85)] * B


def test_mask_and_throw__leaves_some_patch_visible() -> None:
    with pytest.raises(ValueError, match="of 4 patches none is left"):
        mask_and_throw(torch.ones(B, 4), 0.45, 0.4, torch.rand(B, 4))


def test_mask_and_throw__follows_the_weights() -> None:
    weights = torch.full((2000, 8), 1.0)
    weights[:, 0] = 4.0
    hidden, thrown = mask_and_throw(weights, 0.125, 0.25, noise(8, 2000))
    assert hidden.sum(1).eq(1).all()
    # One draw of eight: probability in proportion to the weight, 4 / 11; 3 standard errors are 0.032.
    assert hidden[:, 0].float().mean().item() == pytest.approx(4 / 11, abs=0.035)
    assert hidden[:, 3].float().mean().item() == pytest.approx(1 / 11, abs=0.02)
    assert thrown[:, 0].float().mean() > thrown[:, 3].float().mean()  # of those not hidden, attended ones go next


def test_mask_and_throw__of_vanishing_weights_still_hides_as_many() -> None:
    weights = torch.zeros(B, L)
    weights[:, 0] = 1
    hidden, _ = mask_and_throw(weights, 0.5, 0.2, noise())
    assert hidden[:, 0].all()
    assert hidden.sum(1).tolist() == [32] * B


def test_some_of__takes_as_many_from_the_mask() -> None:
    mask = random_mask(B, L, 0.5, noise=noise())
    chosen = some_of(mask, 10, noise(seed=2))
    assert chosen.sum(1).tolist() == [10] * B
    assert not (chosen & ~mask).any()
    assert torch.equal(some_of(mask, 32, noise(seed=2)), mask)
    with pytest.raises(ValueError, match="asked for 40"):
        some_of(mask, 40, noise())
