"""A network that follows another one slowly, and the statistics it is centred by."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from vasomim.ops.collectives import mean_over_processes
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
    mean_before: Tensor
    mean_outputs: Tensor
    track_running_stats = True
    """So the loop takes a bad batch back out of it, as of BatchNorm's statistics."""

    def __init__(self, size: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(size))
        # Of the step in progress; not in the checkpoint: those are taken between steps.
        self._step: int | None = None
        self._count = 0
        self.register_buffer("mean_before", torch.zeros(size), persistent=False)
        self.register_buffer("mean_outputs", torch.zeros(size), persistent=False)

    def before(self, progress: Progress) -> Tensor:
        """The mean as it was before this step, whichever part of its batch asks."""
        return self.mean_before if progress.step == self._step else self.mean

    @torch.no_grad()
    def update(self, outputs: Tensor, progress: Progress) -> None:
        """Move to momentum * mean + (1 - momentum) * mean of `outputs` (B, K), over all processes, once a step.

        Parts of one batch count as one: the mean before it moves towards that of all parts so far.
        """
        if progress.step != self._step:
            self._step, self._count = progress.step, 0
            self.mean_before.copy_(self.mean)
            self.mean_outputs.zero_()
        self._count += len(outputs)
        self.mean_outputs.lerp_(mean_over_processes(outputs.float().mean(0)), len(outputs) / self._count)
        self.mean.copy_(self.mean_before.lerp(self.mean_outputs, 1 - self.momentum))
