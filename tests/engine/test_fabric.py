"""Fabric on one device, and what is refused on several."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vasomim.engine.fabric import build_fabric
from vasomim.engine.step import synchronise_norms
from vasomim.errors import MisuseError


def test_build_fabric__on_the_cpu():
    fabric = build_fabric("cpu", "fp32")
    assert fabric.device == torch.device("cpu")
    assert fabric.world_size == 1
    with build_fabric("cpu", "bf16").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_build_fabric__has_nothing_to_split_on_one_device():
    assert build_fabric("cpu", "fp32", strategy="fsdp").world_size == 1


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda", "devices": 3}, r"devices=3, .* offers 2 CUDA"),
        ({"device": "cuda:1", "devices": 2}, "device=cuda:1 for 2 processes"),
        (
            {"device": "cuda", "devices": 2, "strategy": "fsdp", "precision": "fp16"},
            "strategy=fsdp with precision=fp16",
        ),
    ],
)
def test_build_fabric__refuses_what_devices_cannot_do(arguments, message):
    with pytest.raises(MisuseError, match=message):
        build_fabric(**{"precision": "fp32", **arguments})


def test_synchronise_norms__takes_trained_layers_and_keeps_their_weights():
    frozen = nn.Sequential(nn.BatchNorm2d(3)).requires_grad_(False)
    task = nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)), "frozen": frozen})
    before = dict(task.named_parameters())
    x = torch.randn(2, 1, 4, 4)
    expected = task["net"].eval()(x)
    synchronise_norms(task)
    assert type(task["net"][1]) is nn.SyncBatchNorm
    assert type(task["frozen"][0]) is nn.BatchNorm2d
    assert all(before[name] is weight for name, weight in task.named_parameters()), "an optimiser holds them already"
    assert torch.equal(task["net"].eval()(x), expected)
