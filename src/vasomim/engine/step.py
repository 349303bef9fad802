"""The parts of one optimiser step: its randomness, its gradients, and what a bad step must leave as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from vasomim.types import Progress, StepOutput

Batch = dict[str, Tensor]


class Call:
    """One call of a task. Fabric rounds every tensor it finds among the arguments to the precision of autocast, pixels
    and targets too, and refuses frozen dataclasses; this is neither a tensor nor a container it looks into.
    """

    def __init__(self, batch: Batch, progress: Progress) -> None:
        """Hold the task's two arguments."""
        self.batch = batch
        self.progress = progress


class PlainOutputs(nn.Module):
    """A task for Fabric to wrap: takes a `Call` and returns a dict of scalars, `loss` among them."""

    def __init__(self, task: nn.Module) -> None:
        """Wrap `task`."""
        super().__init__()
        self.task = task

    def forward(self, call: Call) -> dict[str, Tensor]:
        """The loss with its graph, and the task's logs."""
        output: StepOutput = self.task(call.batch, call.progress)
        return {**output.logs, "loss": output.loss}


def backward(fabric: Fabric, model: nn.Module, batch: Batch, progress: Progress, accumulate: int) -> dict[str, Tensor]:
    """Add up the gradients of a batch part by part, each part's mean loss weighted by its share of the batch.

    Args:
        fabric: that set up `model`.
        model: a `PlainOutputs` set up by `fabric`.
        batch: tensors with one first dimension B.
        progress: handed to the task.
        accumulate: parts; at most B.

    Returns:
        The logged scalars of the whole batch, detached, on their device.
    """
    size = batch_size(batch)
    parts = split(batch, accumulate)
    totals: dict[str, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        share = batch_size(part) / size
        # Several processes add up their gradients once, with the last part.
        with fabric.no_backward_sync(model, enabled=number < len(parts)):  # type: ignore[arg-type]
            logs = model(Call(part, progress))
            fabric.backward(logs["loss"] * share)
        for name, value in logs.items():
            part_value = value.detach() * share
            totals[name] = totals[name] + part_value if name in totals else part_value
    return totals


def split(batch: Mapping[str, Tensor], parts: int) -> list[Batch]:
    """Cut a batch along the first dimension into `parts` parts of nearly the same size."""
    chunks = {name: value.tensor_split(min(parts, batch_size(batch))) for name, value in batch.items()}
    return [dict(zip(chunks, values, strict=True)) for values in zip(*chunks.values(), strict=True)]


def batch_size(batch: Mapping[str, Tensor]) -> int:
    """First dimension of a batch's tensors."""
    return len(next(iter(batch.values())))


class RunningStatistics:
    """Copies of the running means and variances, so that a bad batch can be taken back out of them."""

    def __init__(self, model: nn.Module) -> None:
        """Look after the normalisation layers of `model` that keep running statistics."""
        self.layers = [m for m in model.modules() if getattr(m, "track_running_stats", False)]
        self.copies: list[tuple[Tensor, Tensor]] = []

    def keep(self) -> None:
        """Remember the present values of the layers in training mode; those of frozen ones cannot change."""
        buffers = [buffer for layer in self.layers if layer.training for buffer in layer.buffers(recurse=False)]
        self.copies = [(buffer, buffer.clone()) for buffer in buffers]

    @torch.no_grad()
    def restore(self, bad: Tensor) -> None:
        """Go back to the values remembered if `bad`, a bool scalar on their device, is true; waits for nothing."""
        for buffer, copy in self.copies:
            buffer.copy_(torch.where(bad, copy, buffer))


def synchronise_norms(module: nn.Module) -> None:
    """Let the BatchNorm layers that are trained take their statistics over the batch of all processes, CUDA only."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            trained = any(weight.requires_grad for weight in child.parameters(recurse=False))
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and trained:
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """torch's global random states, of the CPU and of `device`, are after the block what they were before it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_step(seed: int, step: int, rank: int, device: torch.device, *, validation: bool = False) -> None:
    """Seed the global generators of CPU and `device`, from which dropout draws, as a function of all arguments.

    So a step draws the same whatever was drawn before it: on resuming, on every process, after a validation.
    """
    value = _mix(_mix(_mix(seed) ^ step) ^ (2 * rank + validation))
    # Not torch.manual_seed: it queues a call for every kind of device that is not in use, and never forgets them.
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)


def _mix(value: int) -> int:
    """SplitMix64's finaliser: neighbouring integers become unrelated 63-bit ones (Steele et al., OOPSLA 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 31)) & 0x7FFFFFFFFFFFFFFF
