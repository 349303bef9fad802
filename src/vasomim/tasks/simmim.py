"""SimMIM (Xie et al., CVPR 2022, arXiv 2111.09886): the whole encoder sees mask tokens, one layer predicts pixels.

Departures: the encoder is the ViT of all methods here (see `models.simmim`). Letters: B frames, L patches, P values a
patch.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vasomim.losses import absolute_reconstruction_loss
from vasomim.models.simmim import SimMIM
from vasomim.ops.baseline_masks import unit_mask
from vasomim.ops.patches import grid_of
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.reconstruction import Reconstruction, decode, mask_noise
from vasomim.types import Progress, StepOutput


class SimMIMTask(nn.Module):
    """L1 between predicted and true pixels of the hidden patches; squares of patches are hidden together."""

    def __init__(self, model: SimMIM, *, mask_ratio: float = 0.6, mask_unit: int = 2) -> None:
        """Train `model`.

        Args:
            model: predicts all patches in normalised grey values.
            mask_ratio: share of the units hidden.
            mask_unit: side of a unit in patches; published are 32 px at patches of 16.
        """
        super().__init__()
        self.model = model
        self.mask_ratio = mask_ratio
        self.mask_unit = mask_unit

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` (B, 1, H, W) in [0, 1], `index`, `epoch`) -> L1 loss."""
        decoded = self.reconstruct(batch["image"], self.draw_mask(batch, progress))
        loss = absolute_reconstruction_loss(decoded.predictions, decoded.targets, decoded.mask)
        return StepOutput.of(loss)

    def draw_mask(self, batch: Mapping[str, Tensor], progress: Progress) -> Tensor:
        """Hidden patches (B, L), unit by unit."""
        height, width = batch["image"].shape[-2:]
        h, w = grid_of(height, width, self.model.patch_size)
        noise = mask_noise(batch, progress, 1, (h // self.mask_unit) * (w // self.mask_unit))[:, 0]
        return unit_mask((h, w), self.mask_unit, self.mask_ratio, noise)

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode frames (B, C, H, W) in [0, 1]; targets are grey values, not normalised patch by patch."""
        model = self.model
        return decode(images, mask, model(images, mask), model, norm_pix_loss=False)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Hidden patches and decoded frames of a batch, as in training."""
        mask = self.draw_mask(batch, progress)
        return Inspection(hidden=mask, decoded=self.reconstruct(batch["image"], mask).images)
