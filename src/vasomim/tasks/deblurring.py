"""Deblurring MAE (Kang et al., MICCAI 2023, arXiv 2306.08249): a masked autoencoder that sees blurred frames.

The target stays sharp, and as visible patches have something to learn as well, all patches count. Departures: crops are
blurred rather than whole frames before they are cropped, and fine-tuning reads sharp frames, as for all methods here,
where the paper blurs those too. Letters: B frames, L patches, P values a patch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasomim.losses import patch_errors, reconstruction_loss
from vasomim.models.mae import MaskedAutoencoder
from vasomim.ops.blur import gaussian_blur
from vasomim.ops.masking import num_hidden
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.reconstruction import Reconstruction, decode, uniform_mask
from vasomim.types import Progress, StepOutput


class DeblurringTask(nn.Module):
    """Masked autoencoder from blurred frames to sharp ones; patches are hidden at random."""

    def __init__(
        self, mae: MaskedAutoencoder, *, mask_ratio: float = 0.75, sigma: float = 1.1, norm_pix_loss: bool = True
    ) -> None:
        """Train `mae` on frames blurred by a Gaussian of `sigma` pixels (published: 1.1)."""
        super().__init__()
        self.mae = mae
        self.mask_ratio = mask_ratio
        self.sigma = sigma
        self.norm_pix_loss = norm_pix_loss

    @property
    def model(self) -> MaskedAutoencoder:
        """Holds the encoder."""
        return self.mae

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` (B, 1, H, W) in [0, 1], `index`, `epoch`) -> mean squared error over all patches."""
        mask = uniform_mask(batch, progress, self.mae.patch_size, self.mask_ratio)
        decoded = self.reconstruct(batch["image"], mask)
        loss = patch_errors(decoded.predictions, decoded.targets).mean()
        with torch.no_grad():
            hidden = reconstruction_loss(decoded.predictions, decoded.targets, mask)
        return StepOutput.of(loss, reconstruction=hidden)

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode sharp frames (B, C, H, W) in [0, 1] from the visible patches of blurred ones."""
        mae = self.mae
        predictions = mae(gaussian_blur(images, self.sigma), mask, num_hidden(mask.shape[1], self.mask_ratio))
        return decode(images, mask, predictions, mae, norm_pix_loss=self.norm_pix_loss)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Hidden patches and decoded frames of a batch, as in training."""
        mask = uniform_mask(batch, progress, self.mae.patch_size, self.mask_ratio)
        return Inspection(hidden=mask, decoded=self.reconstruct(batch["image"], mask).images)
