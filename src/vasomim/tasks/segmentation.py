"""Supervised segmentation: fine-tuning on labels, and the segmentor on extracted anatomy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasomim.models.unet import PlainUNet
from vasomim.types import Progress, StepOutput

SegmentationLoss = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""(logits (B, 1, H, W), target (B, 1, H, W) in {0, 1}) -> weighted terms by name; their sum is minimised."""


class SegmentationTask(nn.Module):
    """A network from frames to vessel logits, and the loss against the maps of the batch."""

    def __init__(
        self, model: nn.Module, loss: SegmentationLoss, target: str = "mask", scale_weights: Sequence[float] = ()
    ) -> None:
        """Join the parts.

        Args:
            model: images (B, 1, H, W) in [0, 1] -> logits (B, 1, H, W).
            loss: logits and target -> weighted terms.
            target: batch entry to learn: `mask` (labels) or `vessels` (anatomy).
            scale_weights: weights of the logits at 1/1, 1/2, 1/4, ... where a `PlainUNet` shall be supervised at
                several depths. Empty: full size alone.

        Raises:
            ValueError: scales are asked of a model that has none.
        """
        super().__init__()
        if scale_weights and not isinstance(model, PlainUNet):
            raise ValueError(f"{type(model).__name__} has logits of full size alone, scale_weights need more")
        self.model = model
        self.loss = loss
        self.target = target
        self.scale_weights = tuple(scale_weights)

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:  # noqa: ARG002 - tasks share it
        """One batch: `image` (B, 1, H, W) in [0, 1] and the target (B, H, W) -> loss and its terms."""
        target = batch[self.target].unsqueeze(1)
        images = batch["image"]
        terms = self._of_scales(images, target) if self.scale_weights else self.loss(self.model(images).float(), target)
        loss = torch.stack(tuple(terms.values())).sum()
        return StepOutput.of(loss, **terms)

    def _of_scales(self, images: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """Each term, summed over the scales by their weights; the target follows the nearest pixel."""
        assert isinstance(self.model, PlainUNet)
        totals: dict[str, Tensor] = {}
        for logits, weight in zip(self.model.forward_scales(images), self.scale_weights, strict=True):
            small = F.interpolate(target, size=logits.shape[-2:], mode="nearest-exact")
            for name, term in self.loss(logits.float(), small).items():
                totals[name] = totals.get(name, torch.zeros_like(term)) + weight * term
        return totals


def halving_weights(num_scales: int) -> tuple[float, ...]:
    """Weights 1, 1/2, 1/4, ... that sum to 1 (nnU-Net's deep supervision)."""
    weights = [0.5**scale for scale in range(num_scales)]
    return tuple(weight / sum(weights) for weight in weights)
