"""Whether a step was bad and whether someone asks to stop: known to the device at once, to the host a step later."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vasomim.engine.step import Batch
from vasomim.ops.collectives import sum_over_processes
from vasomim.types import Progress


class Verdict:
    """What all processes say of one step. Making it queues work on the device and waits for nothing."""

    def __init__(self, bad: Tensor, *, stop: bool = False) -> None:
        """Add up what the processes found.

        Args:
            bad: bool scalar on its device, whether the loss or its gradient is not finite on this process.
            stop: whether this process was asked to stop.
        """
        flags = torch.stack([bad.float(), torch.full_like(bad, stop, dtype=torch.float32)])
        sum_over_processes(flags)
        self.bad: Tensor = flags[0] > 0
        """Bool scalar on the device: on any process."""
        self._copy = torch.empty_like(flags, device="cpu", pin_memory=flags.is_cuda)
        self._copy.copy_(flags, non_blocking=True)
        self._copied = torch.cuda.Event() if flags.is_cuda else None  # type: ignore[no-untyped-call]
        if self._copied is not None:
            self._copied.record()

    def read(self) -> tuple[bool, bool]:
        """Whether the step was bad, and whether any process was asked to stop; waits for the device."""
        if self._copied is not None:
            self._copied.synchronize()
        bad, stop = self._copy.tolist()
        return bad > 0, stop > 0


@dataclass(frozen=True)
class Taken:
    """A step that the device has been told to take and the host does not know the outcome of."""

    verdict: Verdict
    batch: Batch
    progress: Progress
    logs: dict[str, Tensor]
    """Scalars to log, on the device."""
    grad_norm: Tensor
    """Scalar on the device, before clipping."""


def withhold(optimizer: torch.optim.Optimizer, bad: Tensor) -> None:
    """Let the next step of a fused optimiser change nothing, neither weights nor moments nor counts, if `bad` is true.

    The kernel itself reads the flag, so nobody waits: it is the one that torch's GradScaler hands to fused optimisers.
    """
    optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
