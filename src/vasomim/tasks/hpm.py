"""HPM, hard patches mining (Wang et al., CVPR 2023, arXiv 2304.05919): the model hides what it finds hard.

A second decoder learns to rank the hidden patches of a frame by their reconstruction loss. A slow copy of the whole
model, the teacher, ranks all patches of the unmasked frame, and a growing share of the hidden patches are those it
finds hardest. Departures: the teacher's momentum is (1 + n) / (10 + n) after n steps, up to 0.999 (published: 0.999 to
0.9999 over 100 epochs); the ranking decoder has one output a patch (published: the mean of as many as a patch has
values). Letters: B frames, L patches.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasomim.losses import patch_errors, ranking_loss, reconstruction_loss
from vasomim.models.hpm import HardPatchMiner
from vasomim.models.mae import MaskedAutoencoder
from vasomim.ops.baseline_masks import hardest_mask
from vasomim.ops.masking import num_hidden, share_at_epoch
from vasomim.tasks.inspection import Inspection, patch_map
from vasomim.tasks.reconstruction import Reconstruction, decode, mask_noise, patch_targets
from vasomim.tasks.teacher import Teacher, warm_momentum
from vasomim.types import Progress, StepOutput


class HPMTask(nn.Module):
    """Masked autoencoder, ranking of its losses, and masks from easy to hard."""

    def __init__(
        self,
        miner: HardPatchMiner,
        *,
        mask_ratio: float = 0.75,
        hard_start: float = 0.0,
        hard_end: float = 0.5,
        momentum: float = 0.999,
        ranking_weight: float = 1.0,
        norm_pix_loss: bool = True,
    ) -> None:
        """Train `miner`.

        Args:
            miner: autoencoder with its loss predictor.
            mask_ratio: share of the patches hidden.
            hard_start: share of the hidden patches that are the hardest, in the beginning.
            hard_end: the same in the last epoch.
            momentum: of the teacher, once the run is long.
            ranking_weight: weight of the ranking loss.
            norm_pix_loss: normalise each target patch by its own mean and variance.
        """
        super().__init__()
        self.miner = miner
        self.teacher = Teacher(miner)
        self.mask_ratio = mask_ratio
        self.hard_start, self.hard_end = hard_start, hard_end
        self.momentum = momentum
        self.ranking_weight = ranking_weight
        self.norm_pix_loss = norm_pix_loss

    @property
    def model(self) -> MaskedAutoencoder:
        """Holds the encoder."""
        return self.miner.mae

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` (B, 1, H, W) in [0, 1], `index`, `epoch`) -> reconstruction and ranking loss."""
        images, mae = batch["image"], self.model
        if self.training:
            self.teacher.follow(self.miner, warm_momentum(progress, self.momentum), progress)
        mask = self.draw_mask(batch, self.difficulty(images), progress)
        predictions, expected = self.miner(images, mask, num_hidden(mask.shape[1], self.mask_ratio))
        targets = patch_targets(images, mae, self.norm_pix_loss)
        terms = {
            "reconstruction": reconstruction_loss(predictions, targets, mask),
            "ranking": ranking_loss(expected, patch_errors(predictions, targets), mask),
        }
        loss = terms["reconstruction"] + self.ranking_weight * terms["ranking"]
        return StepOutput.of(loss, **terms)

    @torch.no_grad()
    def difficulty(self, images: Tensor) -> Tensor:
        """How hard the teacher finds each patch: (B, 1, H, W) in [0, 1] -> (B, L)."""
        assert isinstance(self.teacher.net, HardPatchMiner)
        return self.teacher.net.difficulty(images).float()

    def draw_mask(self, batch: Mapping[str, Tensor], difficulty: Tensor, progress: Progress) -> Tensor:
        """Hidden patches (B, L), from easy to hard over the epochs."""
        share = share_at_epoch(progress.epoch, progress.total_epochs, self.hard_start, self.hard_end)
        noise = mask_noise(batch, progress, 2, difficulty.shape[1])[:, 1]
        return hardest_mask(difficulty, self.mask_ratio, share, noise)

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode frames (B, C, H, W) in [0, 1] from the patches that `mask` (B, L) leaves visible."""
        mae = self.model
        predictions = mae(images, mask, num_hidden(mask.shape[1], self.mask_ratio))
        return decode(images, mask, predictions, mae, norm_pix_loss=self.norm_pix_loss)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Difficulty in the eyes of the teacher, hidden patches and decoded frames, as in training."""
        images = batch["image"]
        difficulty = self.difficulty(images)
        mask = self.draw_mask(batch, difficulty, progress)
        above_least = difficulty - difficulty.amin(1, keepdim=True)
        maps = {"difficulty": patch_map(above_least, images, self.model.patch_size)}
        return Inspection(maps, mask, self.reconstruct(images, mask).images)
