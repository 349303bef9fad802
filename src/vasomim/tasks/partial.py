"""Learning two things from frames of which some show one of them: main vessels and the whole tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vasomim.tasks.segmentation import SegmentationLoss
from vasomim.types import Progress, StepOutput

_SURELY_NOT = -30.0
"""A logit that costs nothing where the target is 0."""


class PartialLabelsTask(nn.Module):
    """A network from frames to two logits a pixel: main vessels, known of some frames, and the tree, of all.

    Pixels of frames whose main vessels are unknown count as right, with no gradient. The cross-entropy of the main
    vessels, a mean over all pixels, is then small where few frames are known; their Dice is that of the known frames
    and weighs as much however few these are.
    """

    labelled: Tensor

    def __init__(self, model: nn.Module, loss: SegmentationLoss, labelled: Sequence[bool]) -> None:
        """Join the parts.

        Args:
            model: images (B, 1, H, W) in [0, 1] -> logits (B, 2, H, W), main vessels first.
            loss: logits and target, each (B, 1, H, W) -> weighted terms; the same for both.
            labelled: by index of the frame, whether its `mask` is known.
        """
        super().__init__()
        self.model = model
        self.loss = loss
        self.register_buffer("labelled", torch.tensor(labelled, dtype=torch.bool), persistent=False)

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:  # noqa: ARG002 - tasks share it
        """One batch: `image` (B, 1, H, W) in [0, 1], `mask` and `vessels` (B, H, W), `index` (B,) -> loss, terms."""
        logits = self.model(batch["image"]).float()
        known = self.labelled[batch["index"]][:, None, None, None]  # (B, 1, 1, 1)
        main = torch.where(known, logits[:, :1], _SURELY_NOT)
        mask = torch.where(known, batch["mask"].unsqueeze(1), 0)
        terms = {f"main_{name}": value for name, value in self.loss(main, mask).items()}
        tree = self.loss(logits[:, 1:], batch["vessels"].unsqueeze(1))
        terms.update((f"tree_{name}", value) for name, value in tree.items())
        total = torch.stack(tuple(terms.values())).sum()
        return StepOutput.of(total, **terms)
