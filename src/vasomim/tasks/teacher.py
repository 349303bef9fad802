"""A network that follows another one slowly, and the statistics it is centred by."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from vasomim.ops.processes import mean_over_processes
from vasomim.types import Progress


class Teacher(nn.Module):
    """A copy of a network that takes no gradient and moves towards the original once an optimiser step.

    It is part of the task's state, so that a resumed run has the same one.
    """

    def __init__(self, student: nn.Module) -> None:
        """Begin as `student` is now."""
        super().__init__()
        self.net = copy.deepcopy(student).requires_grad_(False)
        self._followed: int | None = None  # not in the checkpoint: those are taken between steps

    @torch.no_grad()
    def follow(self, student: nn.Module, momentum: float, progress: Progress) -> None:
        """Move each weight to momentum * its own + (1 - momentum) * the student's; parts of one batch count once.

        Call it before the weights are used: they then hold every step taken so far. Running statistics are its own.
        """
        if progress.step == self._followed:
            return
        self._followed = progress.step
        own: list[Tensor] = list(self.net.parameters())
        torch._foreach_lerp_(own, list[Tensor](student.parameters()), 1 - momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the network gives, without gradient."""
        given: Tensor = self.net(images)
        return given


def rising_momentum(progress: Progress, start: float) -> float:
    """Momentum from `start` to 1 along half a cosine over the run (BYOL, MoCo v3, DINO)."""
    return 1 - (1 - start) * (1 + math.cos(math.pi * progress.step / progress.total_steps)) / 2


def warm_momentum(progress: Progress, most: float) -> float:
    """Momentum (1 + n) / (10 + n) after n steps, up to `most`: a short run would else keep its random start."""
    return min(most, (1 + progress.step) / (10 + progress.step))


class Center(nn.Module):
    """Running mean of a teacher's outputs, (K,)."""

    mean: Tensor
    track_running_stats = True
    """So the loop takes a bad batch back out of it, as of BatchNorm's statistics."""

    def __init__(self, size: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(size))

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Move to momentum * mean + (1 - momentum) * mean of `outputs` (B, K), over all processes."""
        self.mean.lerp_(mean_over_processes(outputs.float().mean(0)), 1 - self.momentum)
