"""Guided masking: exact counts, the exact distribution, and plain random masking when the guidance is off."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vasomim.ops.masking import guided_mask, hide_lowest, num_hidden, random_mask, share_at_epoch
from vasomim.ops.noise import counter_uniform
from vasomim.ops.patches import patch_sums


def _maps(weights, patch_size=2):
    """A guidance map (B, H, W) with the given patch sums (B, h, w)."""
    weights = torch.as_tensor(weights, dtype=torch.float32)
    spread = weights.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)
    return spread / patch_size**2


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("n", "ratio"), [(196, 0.5), (196, 0.75), (49, 0.5), (16, 0.6), (10, 0.33), (4, 0.01), (4, 0.99), (7, 0)]
)
def test_num_hidden__is_the_published_count(n, ratio):
    assert num_hidden(n, ratio) == n - math.floor(n * (1 - ratio))


def test_share_at_epoch__rises_linearly_to_its_end():
    betas = [share_at_epoch(e, 4, 0.0, 0.5) for e in range(4)]
    assert betas == [0.125, 0.25, 0.375, 0.5]
    assert share_at_epoch(0, 1, 0.2, 0.7) == 0.7
    assert share_at_epoch(9, 10, 0.9, 0.1) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"epoch must lie in \[0, 4\), got 4"):
        share_at_epoch(4, 4, 0, 0.5)


@settings(max_examples=40, deadline=None)
@given(
    ratio=st.floats(0, 0.99),
    beta=st.floats(0, 1),
    positive=st.integers(0, 16),
    seed=st.integers(0, 10_000),
)
def test_guided_mask__exact_counts_in_every_row(ratio, beta, positive, seed):
    weights = torch.zeros(3, 16)
    weights[:, :positive] = torch.rand(3, positive, generator=_generator(seed)) + 0.1
    mask = guided_mask(_maps(weights.reshape(3, 4, 4)), 2, ratio, beta, _generator(seed))
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [num_hidden(16, ratio)] * 3
    # The guided ones are among those with guidance, and as many as asked for or as there are.
    guided = min(math.floor(beta * num_hidden(16, ratio)), positive)
    assert bool((mask[:, :positive].sum(1) >= guided).all())


def test_guided_mask__few_positive_patches_are_all_hidden_and_the_rest_is_random():
    weights = torch.zeros(200, 4, 4)
    weights[:, 1, 2] = 1e-6
    weights[:, 3, 3] = 1e6
    mask = guided_mask(_maps(weights), 2, 0.5, 1.0, _generator())
    assert mask.sum(1).tolist() == [8] * 200
    assert bool(mask[:, 6].all())
    assert bool(mask[:, 15].all())
    others = mask.float().mean(0)[[i for i in range(16) if i not in (6, 15)]]
    assert_close(others, torch.full((14,), 6 / 14), atol=0.12, rtol=0)


def _inclusion(weights, count):
    """Exact probability of each subset when `count` are drawn one after another in proportion to the weights."""
    chances: dict[frozenset[int], float] = {}
    for order in itertools.permutations(range(len(weights)), count):
        chance, rest = 1.0, sum(weights)
        for i in order:
            chance *= weights[i] / rest
            rest -= weights[i]
        chances[frozenset(order)] = chances.get(frozenset(order), 0.0) + chance
    return chances


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 10.0], [0.0, 1.0, 5.0, 2.0]])
def test_guided_mask__draws_in_proportion_without_replacement(weights):
    n = 40_000
    maps = _maps(torch.tensor(weights).reshape(1, 2, 2)).expand(n, -1, -1)
    noise = counter_uniform(11, torch.zeros(n, dtype=torch.int64), torch.arange(n), 8).reshape(n, 2, 4)
    mask = guided_mask(maps, 2, 0.5, 1.0, noise=noise)  # both hidden patches are guided
    seen = (mask * torch.tensor([1, 2, 4, 8])).sum(1).bincount(minlength=16) / n
    for subset, chance in _inclusion(weights, 2).items():
        code = sum(1 << i for i in subset)
        assert seen[code].item() == pytest.approx(chance, abs=4.5 * math.sqrt(max(chance * (1 - chance), 1e-9) / n))


def test_guided_mask__random_rest_is_uniform_over_those_left():
    n = 30_000
    maps = _maps(torch.tensor([[8.0, 0.0], [0.0, 0.0]])[None]).expand(n, -1, -1)
    mask = guided_mask(maps, 2, 0.5, 0.5, _generator(1))  # one guided (the first), one of three others
    assert bool(mask[:, 0].all())
    assert_close(mask[:, 1:].float().mean(0), torch.full((3,), 1 / 3), atol=0.012, rtol=0)


@pytest.mark.parametrize("empty", [0.0, float("nan"), -1.0])
def test_guided_mask__without_guidance_equals_random_mask(empty):
    noise = torch.rand(5, 2, 16, generator=_generator())
    maps = torch.full((5, 8, 8), empty)
    assert torch.equal(guided_mask(maps, 2, 0.6, 0.7, noise=noise), random_mask(5, 16, 0.6, noise=noise[:, 1]))


def test_guided_mask__fraction_0_equals_random_mask_to_the_bit():
    maps = torch.rand(6, 32, 32)
    noise = torch.rand(6, 2, 16)
    assert torch.equal(guided_mask(maps, 8, 0.5, 0.0, noise=noise), random_mask(6, 16, 0.5, noise=noise[:, 1]))
    assert torch.equal(guided_mask(maps, 8, 0.5, 0.0, _generator(3)), random_mask(6, 16, 0.5, _generator(3)))


def test_guided_mask__only_shares_of_the_guidance_count():
    maps, noise = torch.rand(4, 16, 16), torch.rand(4, 2, 16)
    expected = guided_mask(maps, 4, 0.5, 0.5, noise=noise)
    for factor in (1e-6, 255.0, 1e12):
        assert torch.equal(guided_mask(maps * factor, 4, 0.5, 0.5, noise=noise), expected)


def test_guided_mask__bool_and_half_guidance():
    maps, noise = torch.rand(4, 16, 16) > 0.9, torch.rand(4, 2, 16)
    expected = guided_mask(maps.float(), 4, 0.5, 0.5, noise=noise)
    assert torch.equal(guided_mask(maps, 4, 0.5, 0.5, noise=noise), expected)
    assert torch.equal(guided_mask(maps.half(), 4, 0.5, 0.5, noise=noise), expected)


def test_guided_mask__rows_do_not_depend_on_each_other():
    maps, noise = torch.rand(4, 16, 16), torch.rand(4, 2, 16)
    mask = guided_mask(maps, 4, 0.5, 0.5, noise=noise)
    assert torch.equal(guided_mask(maps[2:3], 4, 0.5, 0.5, noise=noise[2:3])[0], mask[2])


def test_guided_mask__hides_more_vessel_as_the_fraction_grows():
    maps = torch.zeros(64, 64, 64)
    maps[:, :, 30:34] = 1  # a vertical vessel
    shares = []
    for beta in (0.0, 0.25, 0.5):
        mask = guided_mask(maps, 8, 0.5, beta, _generator(0))
        sums = patch_sums(maps, 8)
        shares.append(((sums * mask).sum() / sums.sum()).item())
    assert shares[0] == pytest.approx(0.5, abs=0.05)
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] == 1.0  # 16 of 32 hidden patches are guided, and 16 hold vessel


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0**-149])
def test_guided_mask__extreme_noise_is_safe(value):
    mask = guided_mask(torch.rand(3, 8, 8), 2, 0.5, 0.5, noise=torch.full((3, 2, 16), value))
    assert mask.sum(1).tolist() == [8, 8, 8]


def test_guided_mask__tiny_and_huge_weights_are_safe():
    weights = torch.tensor([1e-38, 1e-45, 1e38, 0.0]).reshape(1, 2, 2)
    mask = guided_mask(weights, 1, 0.75, 1.0, _generator())
    assert mask.tolist() == [[True, True, True, False]]


def test_random_mask__is_uniform_and_seeded():
    mask = random_mask(20_000, 8, 0.5, _generator(1))
    assert mask.sum(1).unique().tolist() == [4]
    assert_close(mask.float().mean(0), torch.full((8,), 0.5), atol=0.02, rtol=0)
    assert torch.equal(mask, random_mask(20_000, 8, 0.5, _generator(1)))
    assert not torch.equal(mask, random_mask(20_000, 8, 0.5, _generator(2)))


def test_masks__leave_the_global_random_state_alone():
    state = torch.get_rng_state()
    random_mask(2, 16, 0.5, _generator())
    guided_mask(torch.rand(2, 8, 8, generator=_generator()), 2, 0.5, 0.5, _generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guided_mask(torch.rand(1, 8, 8), 2, 1.0, 0.5), r"mask_ratio must lie in \[0, 1\), got 1.0"),
        (lambda: guided_mask(torch.rand(1, 8, 8), 2, 0.5, 1.5), r"guided_fraction must lie in \[0, 1\], got 1.5"),
        (lambda: guided_mask(torch.rand(1, 9, 8), 2, 0.5, 0.5), "9x8, not a multiple of patch_size=2"),
        (lambda: guided_mask(torch.rand(1, 8, 8), 2, 0.5, 0.5, noise=torch.rand(1, 16)), "noise must have shape"),
        (lambda: random_mask(2, 16, 0.5, noise=torch.rand(1, 16)), "noise must have shape"),
        (lambda: random_mask(2, 16, -0.1), "mask_ratio must lie in"),
    ],
)
def test_masks__refuse_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_guided_mask__captures_into_one_graph():
    maps, noise = torch.rand(2, 16, 16), torch.rand(2, 2, 16)
    exported = torch.export.export(_Guided(), (maps, noise)).module()
    assert torch.equal(exported(maps, noise), guided_mask(maps, 4, 0.5, 0.5, noise=noise))


class _Guided(torch.nn.Module):
    def forward(self, maps, noise):
        return guided_mask(maps, 4, 0.5, 0.5, noise=noise)


@pytest.mark.parametrize("levels", [2, 8, 1 << 20])
@pytest.mark.parametrize("count", [0, 1, 7, 29, 30])
def test_hide_lowest__chooses_what_a_stable_sort_does(levels, count):
    keys = torch.randint(0, levels, (16, 30), generator=_generator()).float()
    keys[3] = torch.inf
    expected = torch.zeros(keys.shape, dtype=torch.bool)
    expected.scatter_(1, keys.argsort(dim=1, stable=True)[:, :count], True)
    assert torch.equal(hide_lowest(keys, count), expected)


def test_hide_lowest__hides_as_many_where_keys_are_not_numbers():
    keys = torch.full((2, 9), torch.nan)
    keys[1, :4] = torch.arange(4.0)
    assert hide_lowest(keys, 5).sum(1).tolist() == [5, 5]
    assert hide_lowest(keys, 5)[1, :4].all()


@pytest.mark.parametrize("guidance", [torch.rand(16, 16), torch.rand(1, 1, 16, 16), np.zeros((1, 16, 16)), None])
def test_guided_mask__refuses_what_is_no_batch_of_maps(guidance):
    with pytest.raises(ValueError, match=r"guidance must be a tensor \(B, H, W\), got \w+ of shape"):
        guided_mask(guidance, 8, 0.5, 0.5)
