"""The plain references do what ours does, so that their times compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasomim.benchmarks import reference
from vasomim.ops.masking import guided_mask, num_hidden
from vasomim.synth import generate
from vasomim.vessels import extract_vessels


@pytest.mark.parametrize("seed", [1, 4])
def test_extract__equals_the_bit_equal_method(seed: int) -> None:
    frame = generate(seed, 160).image
    np.testing.assert_array_equal(reference.extract(frame), extract_vessels(frame, method="reference"))


def test_guided_masks__hide_as_many_patches_and_as_much_guidance() -> None:
    guidance = (torch.rand(64, 112, 112, generator=torch.Generator().manual_seed(0)) > 0.97).float()
    guidance[:, :, :56] = 0
    torch.manual_seed(0)
    plain = reference.guided_masks(guidance, 16, 0.5, 0.5)
    ours = guided_mask(guidance, 16, 0.5, 0.5, generator=torch.Generator().manual_seed(0))
    assert plain.sum(1).eq(num_hidden(49, 0.5)).all()
    where_vessels_are = torch.arange(49) % 7 >= 4  # the patches that lie wholly in the right half
    shares = [mask[:, where_vessels_are].float().mean().item() for mask in (plain, ours)]
    assert shares[0] == pytest.approx(shares[1], abs=0.04)


def test_pretraining_step__learns_one_batch() -> None:
    torch.manual_seed(0)
    model = reference.MaskedAutoencoder(dim=32, depth=1, heads=2, decoder=(32, 1, 2))
    segmentor = torch.nn.Conv2d(1, 1, 3, padding=1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    images, vessels = torch.rand(2, 1, 224, 224), torch.zeros(2, 224, 224)
    losses = [reference.pretraining_step(model, segmentor, optimizer, images, vessels)["loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
