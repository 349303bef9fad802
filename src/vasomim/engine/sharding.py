"""Weights, gradients and moments split over the processes (FSDP2), and put together again for files and validation.

Rajbhandari et al., "ZeRO", SC 2020; Zhao et al., "PyTorch FSDP", VLDB 2023.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vasomim.engine.blocks import transformer_blocks
from vasomim.errors import MisuseError
from vasomim.tasks.teacher import Teacher


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Split the weights of `module` in place: each transformer block is gathered on its own, all else together."""
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP2 takes no other
    for block in transformer_blocks(module):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def is_sharded(fabric: Fabric) -> bool:
    """Whether Fabric splits the weights."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def set_up(fabric: Fabric, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
    """Fabric's wrappers of a module and of an optimiser over its parameters that has made no step yet."""
    if not is_sharded(fabric):
        model, wrapped = fabric.setup(module, optimizer)
        return model, wrapped
    before = dict(module.named_parameters())
    model = fabric.setup_module(module)
    after = dict(module.named_parameters())
    part_of = {id(weight): after[name] for name, weight in before.items()}
    for group in optimizer.param_groups:
        group["params"] = [part_of[id(weight)] for weight in group["params"]]
    return model, fabric.setup_optimizers(optimizer)


def gathered(state: Any, *, keep: bool = True) -> Any:
    """`state` with every split tensor whole and on the CPU; all processes call it, those that do not keep get None."""
    if isinstance(state, DTensor):
        whole = state.full_tensor().detach()
        return whole.cpu() if keep else None
    if isinstance(state, Mapping):
        return {name: gathered(value, keep=keep) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(gathered(value, keep=keep) for value in state)
    return state


def scattered(whole: Any, like: Any) -> Any:
    """`whole` with its tensors split as those at the same place of `like`; every process passes the same `whole`.

    Raises:
        KeyError: `like` has a name that `whole` lacks.
    """
    if isinstance(like, DTensor):
        # None: each process cuts its own part out, nothing is sent.
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    if isinstance(like, Mapping) and isinstance(whole, Mapping):
        parts = {name: scattered(whole[name], part) for name, part in like.items()}
        return {**whole, **parts}
    return whole


def scattered_moments(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's whole state dict with the tensors of each parameter split like the parameter."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments = {
        number: {
            name: scattered(value, weights[number]) if isinstance(value, Tensor) and value.ndim else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": moments}


class WholeTask:
    """A task whose weights are split, made whole for a while: inside `applied` any of its methods can be called."""

    def __init__(self, task: nn.Module) -> None:
        """Remember how `task` is built, before it is split; its weights take no memory here.

        Raises:
            MisuseError: the task looks at weights outside of its forward pass, where each process has a part of them.
        """
        if any(isinstance(part, Teacher) for part in task.modules()):
            raise MisuseError(
                "got strategy=fsdp, which splits the weights, for a method whose second network follows them; take ddp"
            )
        self.task = task
        empty = {
            id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=weight.requires_grad)
            for weight in task.parameters()
        }
        self.template = copy.deepcopy(task, memo=dict(empty))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """`task` has whole weights inside the block, on every process, and its parts again after it."""
        parts = dict(vars(self.task))
        self.restore()
        try:
            yield
        finally:
            vars(self.task).clear()
            vars(self.task).update(parts)

    def restore(self) -> None:
        """Make `task` whole for good, with the weights it has now."""
        state = {
            name: value.full_tensor().detach() if isinstance(value, DTensor) else value.detach().clone()
            for name, value in self.task.state_dict().items()
        }
        whole = copy.deepcopy(self.template)
        whole.load_state_dict(state, assign=True)
        device = next(iter(state.values())).device
        whole.to(device)  # buffers that travel in no state dict
        whole.train(self.task.training)
        vars(self.task).clear()
        vars(self.task).update(vars(whole))
