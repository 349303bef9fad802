"""The published defect, made on purpose: as many tensors as there, and no other."""

from __future__ import annotations

import copy

import torch

from vasomim.benchmarks.methods.damage import damage
from vasomim.models.registry import create_model
from vasomim.models.unext import UNeXt


def test_damage__draws_anew_36_of_101_tensors_and_leaves_the_rest() -> None:
    model = create_model("unext_s")
    assert isinstance(model, UNeXt)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1)  # as training would: no tensor is at its start
    before = copy.deepcopy(model.state_dict())
    touched = damage(model, torch.Generator().manual_seed(0))
    after = model.state_dict()
    network = [name for name in after if not name.startswith("input_norm")]
    changed = [name for name in network if not torch.equal(before[name], after[name])]
    assert (len(network), len(changed)) == (101, 36)
    assert set(changed) == set(touched)
    assert not any("conv" in name or "head" in name for name in changed)


def test_damage__is_the_same_every_time() -> None:
    model = create_model("unext_test")
    assert isinstance(model, UNeXt)
    twin = copy.deepcopy(model)
    for one in (model, twin):
        damage(one, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
