"""Supervised segmentation: fine-tuning on labels, and the segmentor on extracted anatomy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vasomim.types import Progress, StepOutput

SegmentationLoss = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""(logits (B, 1, H, W), target (B, 1, H, W) in {0, 1}) -> weighted terms by name; their sum is minimised."""


class SegmentationTask(nn.Module):
    """A network from frames to vessel logits, and the loss against the maps of the batch."""

    def __init__(self, model: nn.Module, loss: SegmentationLoss, target: str = "mask") -> None:
        """Join `model` and `loss`; `target` names the batch entry to learn: `mask` (labels) or `vessels` (anatomy)."""
        super().__init__()
        self.model = model
        self.loss = loss
        self.target = target

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:  # noqa: ARG002 - tasks share it
        """One batch: `image` (B, 1, H, W) in [0, 1] and the target (B, H, W) -> loss and its terms."""
        target = batch[self.target].unsqueeze(1)
        logits = self.model(batch["image"]).float()
        terms = self.loss(logits, target)
        loss = torch.stack(tuple(terms.values())).sum()
        return StepOutput(loss, {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}})
