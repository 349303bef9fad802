"""What can be done to a network and its blocks before it is trained; names and values of its weights stay."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from vasomim.models.unet import PlainUNet
from vasomim.models.vit import Block


def order_weights(module: nn.Module) -> None:
    """Lay out the weights as the network trains fastest: channels last, and channels first for a plain U-Net.

    Convolutions gain from channels last, on a CPU and on a GPU. Norms of single channels lose more than that
    (docs/performance.md), and a plain U-Net has one behind each convolution.
    """
    first = any(isinstance(part, PlainUNet) for part in module.modules())
    module.to(memory_format=torch.contiguous_format if first else torch.channels_last)  # type: ignore[call-overload]


def transformer_blocks(module: nn.Module) -> list[Block]:
    """The blocks inside a module that are trained, encoder and decoder alike, in the order of its parts."""
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    return [block for block in blocks if any(weight.requires_grad for weight in block.parameters())]


def checkpoint_activations(module: nn.Module) -> int:
    """Let the blocks forget what they computed and compute it again in the backward pass; returns how many do.

    Memory falls to the input of each block, time grows by the forward pass of the blocks (Chen et al., "Training deep
    nets with sublinear memory cost", arXiv 1604.06174).
    """
    blocks = transformer_blocks(module)
    for block in blocks:
        block.grad_checkpointing = True
    return len(blocks)


def compile_blocks(module: nn.Module, **options: Any) -> int:
    """Have torch compile each block when it is first called; returns how many. `options` are torch.compile's.

    Block by block and not as a whole: all blocks of one shape share one compilation, and what is around them (masks,
    losses, frozen networks) needs no second look when a method changes.
    """
    # The compiler looks at `grad` of every tensor it meets, which torch warns of.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    blocks = transformer_blocks(module)
    for block in blocks:
        block.compile(**options)
    return len(blocks)
