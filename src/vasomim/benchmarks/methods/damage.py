"""The defect of the published code, made on purpose for the ablation that asks what it costs.

    python -m vasomim.benchmarks.methods.damage SEGMENTOR OUT

There the autoencoder's initialisation runs over all its parts after the segmentor was loaded into one of them: linear
layers are drawn anew and LayerNorms set back, 36 of 101 tensors, while convolutions and BatchNorms stay as trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from vasomim.models.unext import ChannelNorm, ShiftBlock, UNeXt
from vasomim.models.weights import load_pretrained, save_pretrained


@torch.no_grad()
def damage(model: UNeXt, generator: torch.Generator) -> list[str]:
    """Draw the linear layers anew (Xavier, zero biases) and set LayerNorms back, in place; names of the tensors."""
    touched = []
    for name, module in model.named_modules():
        if isinstance(module, ShiftBlock):
            for part in ("fc1", "fc2"):
                layer = getattr(module, part)
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
                touched += [f"{name}.{part}.weight", f"{name}.{part}.bias"]
        elif isinstance(module, ChannelNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            touched += [f"{name}.weight", f"{name}.bias"]
    return touched


def write_damaged(segmentor: Path, out: Path) -> list[str]:
    """A damaged copy of an exported segmentor as an export folder; names of the tensors that differ."""
    model, facts = load_pretrained(segmentor)
    assert isinstance(model, UNeXt)
    touched = damage(model, torch.Generator().manual_seed(0))
    save_pretrained(out, model, facts, "Damaged on purpose, as the published code does. Of no use but to compare.\n")
    return touched


if __name__ == "__main__":
    print(f"{len(write_damaged(Path(sys.argv[1]), Path(sys.argv[2])))} tensors drawn anew")
