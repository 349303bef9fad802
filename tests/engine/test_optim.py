"""Parameter groups against a table made by hand, and the optimisers built from them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vasomim.engine.optim import build_optimizer, layer_id, load_optimizer, parameter_groups, set_lr, unfuse


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(4)
        self.mlp = nn.Linear(4, 4)


class Encoder(nn.Module):
    """timm's names, two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, 4, 2)})
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.LayerNorm(4)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(4, 4)])})
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 4))


TABLE = {
    "encoder.cls_token": (0, 0.0),
    "encoder.pos_embed": (0, 0.0),
    "encoder.patch_embed.proj.weight": (0, 0.1),
    "encoder.patch_embed.proj.bias": (0, 0.0),
    "encoder.blocks.0.norm1.weight": (1, 0.0),
    "encoder.blocks.0.norm1.bias": (1, 0.0),
    "encoder.blocks.0.mlp.weight": (1, 0.1),
    "encoder.blocks.0.mlp.bias": (1, 0.0),
    "encoder.blocks.1.norm1.weight": (2, 0.0),
    "encoder.blocks.1.norm1.bias": (2, 0.0),
    "encoder.blocks.1.mlp.weight": (2, 0.1),
    "encoder.blocks.1.mlp.bias": (2, 0.0),
    "encoder.norm.weight": (3, 0.0),
    "encoder.norm.bias": (3, 0.0),
    "decoder.blocks.0.weight": (3, 0.1),
    "decoder.blocks.0.bias": (3, 0.0),
    "mask_token": (3, 0.0),
}
"""Layer (3 is the top) and weight decay of every parameter of `Model` for weight_decay=0.1."""


def by_name(model: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("depth", [0, 2])
def test_parameter_groups__match_the_table_however_deep_the_encoder_lies(depth):
    model: nn.Module = Model()
    prefix = ""
    for _ in range(depth):
        model, prefix = nn.ModuleDict({"task": model}), f"task.{prefix}"
    found = by_name(model, parameter_groups(model, weight_decay=0.1, layer_decay=0.5))
    assert found == {f"{prefix}{name}": (0.5 ** (3 - layer), decay) for name, (layer, decay) in TABLE.items()}


def test_parameter_groups__without_layer_decay_are_two():
    groups = parameter_groups(Model(), weight_decay=0.1)
    assert [(group["weight_decay"], group["lr_scale"]) for group in groups] == [(0.0, 1.0), (0.1, 1.0)]
    assert len(parameter_groups(Model(), weight_decay=0.0)) == 1


def test_parameter_groups__leave_frozen_parameters_out_and_keep_the_scale():
    model = Model()
    model.encoder.blocks[1].requires_grad_(False)
    model.encoder.patch_embed.requires_grad_(False)
    found = by_name(model, parameter_groups(model, weight_decay=0.1, layer_decay=0.5))
    expected = {n: v for n, v in TABLE.items() if "blocks.1" not in n and "patch_embed" not in n}
    assert found == {name: (0.5 ** (3 - layer), decay) for name, (layer, decay) in expected.items()}


def test_parameter_groups__of_a_bare_encoder():
    encoder = Encoder()
    found = by_name(encoder, parameter_groups(encoder, 0.1, 0.5, encoder_prefix=""))
    assert found["blocks.0.mlp.weight"] == (0.25, 0.1)
    assert found["norm.weight"] == (1.0, 0.0)


def test_parameter_groups__refuse_nonsense():
    with pytest.raises(ValueError, match="layer_decay must lie in"):
        parameter_groups(Model(), 0.1, layer_decay=1.5)
    with pytest.raises(ValueError, match="unfreeze"):
        parameter_groups(Model().requires_grad_(False), 0.1)


def test_layer_id__takes_only_whole_names():
    assert layer_id("my_encoder.blocks.3.weight") is None
    assert layer_id("encoder.blocks.11.weight") == 12
    assert layer_id("task.encoder.pos_embed") == 0


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_build_optimizer__scales_rates_and_steps(name, kind):
    model = Model()
    optimizer = build_optimizer(parameter_groups(model, 0.1, 0.5), name, lr=0.8, betas=(0.8, 0.9))
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.2, 0.4, 0.8}
    assert all(group["betas"] == (0.8, 0.9) for group in optimizer.param_groups)
    set_lr(optimizer, 8.0)
    assert {group["lr"] for group in optimizer.param_groups} == {1.0, 2.0, 4.0, 8.0}


def test_build_optimizer__fused_equals_plain():
    weights = []
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Linear(5, 5)
        optimizer = build_optimizer(parameter_groups(model, 0.1), lr=0.01, fused=fused)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.ones(1, 5)).square().sum().backward()
            optimizer.step()
        weights.append(model.weight)
    torch.testing.assert_close(weights[0], weights[1])


def test_build_optimizer__refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"one of adamw, adam, got 'sgd'"):
        build_optimizer(parameter_groups(Model(), 0.1), "sgd")


def test_load_optimizer__keeps_the_kernels_chosen_here():
    model = nn.Linear(2, 2)
    one, two = (build_optimizer(parameter_groups(model, 0.1), fused=True) for _ in range(2))
    model(torch.ones(1, 2)).sum().backward()
    one.step()
    unfuse(two)
    load_optimizer(two, one.state_dict())
    assert all(group["fused"] is False for group in two.param_groups)
    two.step()
    with pytest.raises(ValueError, match=r"argument|longer|shorter"):
        load_optimizer(build_optimizer(parameter_groups(Model(), 0.1)), {**one.state_dict(), "param_groups": []})
