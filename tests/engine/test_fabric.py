"""Fabric on one device."""

from __future__ import annotations

import torch

from vasomim.engine.fabric import build_fabric


def test_build_fabric__on_the_cpu():
    fabric = build_fabric("cpu", "fp32")
    assert fabric.device == torch.device("cpu")
    assert fabric.world_size == 1
    with build_fabric("cpu", "bf16").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
