"""Operations and memory of networks and filters, counted."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(module: nn.Module, call: Callable[[nn.Module], Tensor], *, backward: bool = False) -> float:
    """Floating-point operations of calling a module, on a copy without memory.

    Args:
        module: any.
        call: calls it with inputs on the device `meta`.
        backward: count the backward pass of what it returns, a scalar, too.
    """
    there = copy.deepcopy(module).to("meta")
    # Attention as matrix products: the counter does not know the CPU's kernel for it. Backward, it then counts twice
    # the forward pass and not the scores that a kernel may compute again.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        out = call(there)
        if backward:
            out.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def bytes_kept(module: nn.Module, call: Callable[[], object]) -> int:
    """Bytes of the storages that a forward pass keeps for the backward pass, weights and buffers left out."""
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(x: Tensor) -> Tensor:
        storages[x.untyped_storage()._cdata] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        call()
    own = {weight.untyped_storage()._cdata for weight in (*module.parameters(), *module.buffers())}
    return sum(storage.nbytes() for key, storage in storages.items() if key not in own)


def hessian_flops(pixels: int, sigma: float, truncate: float = 6.0) -> float:
    """Of three second derivatives by separable kernels: six passes."""
    taps = 2 * math.ceil(truncate * sigma) + 1
    return 6 * 2 * taps * pixels


def steering_flops(pixels: int, steps: int) -> float:
    """Of `vasomim.ops.oriented.along_ridges`, in eight directions: steer, then add up along the line."""
    return 8 * (5 + 2 * steps + 1) * pixels
