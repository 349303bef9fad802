"""CrossMAE (Fu et al., TMLR 2025, arXiv 2401.14391): hidden patches are read out one by one, and only a share of them.

Departures: light decoders for small encoders, as for all methods here (published are 12 blocks of 512). Letters: B
frames, L patches, Q patches asked for, P values a patch.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vasomim.losses import patch_errors
from vasomim.models.crossmae import CrossMAE
from vasomim.models.mae import marked_indices
from vasomim.ops.baseline_masks import some_of
from vasomim.ops.masking import num_hidden
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.reconstruction import (
    Reconstruction,
    decode,
    mask_noise,
    num_patches,
    patch_targets,
    uniform_mask,
)
from vasomim.types import Progress, StepOutput


class CrossMAETask(nn.Module):
    """Mean squared error over the hidden patches that are asked for; patches are hidden at random."""

    def __init__(
        self, model: CrossMAE, *, mask_ratio: float = 0.75, predict_ratio: float = 0.25, norm_pix_loss: bool = True
    ) -> None:
        """Train `model`.

        Args:
            model: predicts the patches it is asked for.
            mask_ratio: share of the patches hidden.
            predict_ratio: share of all patches predicted; at most `mask_ratio` is used.
            norm_pix_loss: normalise each target patch by its own mean and variance.
        """
        super().__init__()
        self.model = model
        self.mask_ratio = mask_ratio
        self.predict_ratio = predict_ratio
        self.norm_pix_loss = norm_pix_loss

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` (B, 1, H, W) in [0, 1], `index`, `epoch`) -> mean squared error of the asked patches."""
        images, model = batch["image"], self.model
        mask = uniform_mask(batch, progress, model.patch_size, self.mask_ratio)
        asked = self.draw_asked(batch, progress, mask)
        targets = patch_targets(images, model, self.norm_pix_loss)
        hidden, count = num_hidden(mask.shape[1], self.mask_ratio), self.num_asked(mask.shape[1])
        index = marked_indices(asked, count)[..., None].expand(-1, -1, targets.shape[2])
        loss = patch_errors(model(images, mask, asked, hidden, count), targets.gather(1, index)).mean()
        return StepOutput.of(loss, reconstruction=loss)

    def draw_asked(self, batch: Mapping[str, Tensor], progress: Progress, mask: Tensor) -> Tensor:
        """The hidden patches to predict: bool (B, L) -> bool (B, L)."""
        count = num_patches(batch["image"], self.model.patch_size)
        return some_of(mask, self.num_asked(count), mask_noise(batch, progress, 3, count)[:, 2])

    def num_asked(self, count: int) -> int:
        """How many of `count` patches are predicted."""
        return min(max(round(self.predict_ratio * count), 1), num_hidden(count, self.mask_ratio))

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode all hidden patches of frames (B, C, H, W) in [0, 1]; visible ones are the frame's own."""
        model = self.model
        targets = patch_targets(images, model, self.norm_pix_loss)
        hidden = num_hidden(mask.shape[1], self.mask_ratio)
        index = marked_indices(mask, hidden)[..., None].expand(-1, -1, targets.shape[2])
        predictions = targets.scatter(1, index, model(images, mask, mask, hidden, hidden).float())
        return decode(images, mask, predictions, model, norm_pix_loss=self.norm_pix_loss)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Hidden patches and decoded frames of a batch, as in training, all hidden patches decoded."""
        mask = uniform_mask(batch, progress, self.model.patch_size, self.mask_ratio)
        return Inspection(hidden=mask, decoded=self.reconstruct(batch["image"], mask).images)
