"""What happens when a loss is NaN or infinite: the batch is kept for replay, the step skipped, the run soon stopped."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vasomim.engine.checkpoints import save_tensors
from vasomim.errors import TrainingError
from vasomim.types import Progress

logger = logging.getLogger(__name__)

IN_A_ROW = 3
"""Skipped steps in a row that end a run."""
IN_TOTAL = 10
"""Skipped steps that end a run."""


class NonFiniteGuard:
    """Counts the steps skipped because the loss or the gradient was not finite."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        """Keep batches in `folder`, if this process writes at all."""
        self.folder = folder
        self.writes = writes
        self.in_a_row = 0
        self.total = 0

    def passed(self) -> None:
        """Note a good step."""
        self.in_a_row = 0

    def caught(self, batch: Mapping[str, Tensor], progress: Progress, loss: float, grad_norm: float) -> None:
        """Note a bad step and keep its batch as step_N.pt, which `torch.load(path, weights_only=True)` reads.

        Args:
            batch: the global batch (this process's slice of it).
            progress: as the task got it.
            loss: the loss of the step.
            grad_norm: norm of its gradient.

        Raises:
            TrainingError: it was the third in a row or the tenth in all.
        """
        self.in_a_row += 1
        self.total += 1
        path = self.folder / f"step_{progress.step:08d}.pt"
        if self.writes:
            save_tensors(
                path,
                {
                    "step": progress.step,
                    "progress": dataclasses.asdict(progress),
                    "batch": {name: value.detach().cpu() for name, value in batch.items()},
                    "loss": loss,
                    "grad_norm": grad_norm,
                },
            )
        found = f"loss {loss:g}, gradient norm {grad_norm:g} at step {progress.step}"
        if self.in_a_row >= IN_A_ROW or self.total >= IN_TOTAL:
            count = f"{self.in_a_row} in a row" if self.in_a_row >= IN_A_ROW else f"{self.total} in all"
            raise TrainingError(
                f"not finite, {count}: {found}; {suspect(batch)}. The batch is in {path}. Try a lower learning rate, "
                "a longer warm-up, clip_grad=1 or precision=fp32, as a new run with another --out"
            )
        logger.warning("step skipped, not finite: %s; %s; the batch is in %s", found, suspect(batch), path)

    def state_dict(self) -> dict[str, int]:
        """The counts."""
        return {"in_a_row": self.in_a_row, "total": self.total}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on counting."""
        self.in_a_row, self.total = state["in_a_row"], state["total"]


def suspect(batch: Mapping[str, Tensor]) -> str:
    """Whether the data or the optimisation is to blame, in words."""
    bad = [name for name, value in batch.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        return f"the batch itself holds NaN or infinity in {', '.join(bad)}, so look at those frames"
    return "the batch is finite, so the weights or the step size are the likely cause"
