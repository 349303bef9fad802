"""AMT, attention-driven masking and throwing (Liu et al., AAAI 2023, arXiv 2211.15362), with MAE.

Patches that the class token attends to are hidden preferentially, the next in order are thrown away: neither encoder
nor decoder ever sees them. Departures: the attention is that of the present encoder to the present crop, at every step;
the paper keeps a map of every whole frame, renewed each 40 epochs, and crops it along. In the first part of a run
patches are hidden and thrown away at random, in the same shares (published: 40 epochs of MAE at 0.75). Letters: B
frames, L patches, K patches not thrown away, E decoder width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vasomim.losses import reconstruction_loss
from vasomim.models.mae import MaskedAutoencoder, visible_indices
from vasomim.ops.baseline_masks import mask_and_throw
from vasomim.ops.masking import num_hidden
from vasomim.ops.patches import grid_of
from vasomim.tasks.inspection import Inspection, patch_map
from vasomim.tasks.reconstruction import (
    Reconstruction,
    decode,
    mask_noise,
    num_patches,
    patch_targets,
)
from vasomim.types import Progress, StepOutput


class AMTTask(nn.Module):
    """Masked autoencoder whose class token says what to hide and what to leave out."""

    def __init__(
        self,
        mae: MaskedAutoencoder,
        *,
        mask_ratio: float = 0.45,
        throw_ratio: float = 0.4,
        start: float = 0.1,
        norm_pix_loss: bool = True,
    ) -> None:
        """Train `mae`.

        Args:
            mae: the autoencoder.
            mask_ratio: share of the patches hidden and predicted.
            throw_ratio: share of the patches thrown away.
            start: share of the run after which attention drives the masks.
            norm_pix_loss: normalise each target patch by its own mean and variance.
        """
        super().__init__()
        self.mae = mae
        self.mask_ratio = mask_ratio
        self.throw_ratio = throw_ratio
        self.start = start
        self.norm_pix_loss = norm_pix_loss

    @property
    def model(self) -> MaskedAutoencoder:
        """Holds the encoder."""
        return self.mae

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch (`image` (B, 1, H, W) in [0, 1], `index`, `epoch`) -> mean squared error of the hidden patches."""
        hidden, thrown = self.draw_masks(batch, self.attention(batch["image"], progress), progress)
        count = hidden.shape[1]
        masked, gone = (num_hidden(count, share) for share in (self.mask_ratio, self.mask_ratio + self.throw_ratio))
        loss = self.loss(batch["image"], hidden, thrown, (gone, gone - masked))
        return StepOutput.of(loss, reconstruction=loss)

    @torch.no_grad()
    def attention(self, images: Tensor, progress: Progress) -> Tensor:
        """What drives the masks, (B, L) >= 0: equal weights at first, then the attention of the class token."""
        if progress.step < self.start * progress.total_steps:
            return images.new_ones(len(images), num_patches(images, self.mae.patch_size))
        return self.mae.encoder.class_attention(self.mae.input_norm(images))

    def draw_masks(self, batch: Mapping[str, Tensor], weights: Tensor, progress: Progress) -> tuple[Tensor, Tensor]:
        """Hidden and thrown patches, bool (B, L) each."""
        noise = mask_noise(batch, progress, 2, weights.shape[1])[:, 0]
        return mask_and_throw(weights, self.mask_ratio, self.throw_ratio, noise)

    def loss(
        self, images: Tensor, hidden: Tensor, thrown: Tensor, counts: tuple[int, int] | tuple[None, None] = (None, None)
    ) -> Tensor:
        """Error of the hidden patches of (B, C, H, W) in [0, 1], thrown ones left out of encoder and decoder.

        `counts` are those of unseen and of thrown patches; without them the device is asked, which waits for it.
        """
        mae = self.mae
        targets = patch_targets(images, mae, self.norm_pix_loss)
        grid = grid_of(images.shape[-2], images.shape[-1], mae.patch_size)
        tokens = mae.place(mae.encode(images, hidden | thrown, counts[0]), hidden | thrown, grid)  # (B, 1 + L, E)
        index = visible_indices(thrown, counts[1])  # (B, K)
        kept = tokens[:, 1:].gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))
        predictions = mae.predict(torch.cat([tokens[:, :1], kept], dim=1))
        targets = targets.gather(1, index[..., None].expand(-1, -1, targets.shape[2]))
        return reconstruction_loss(predictions, targets, hidden.gather(1, index))

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode frames (B, C, H, W) in [0, 1] from the patches that `mask` (B, L) leaves visible; none is thrown."""
        mae = self.mae
        return decode(images, mask, mae(images, mask), mae, norm_pix_loss=self.norm_pix_loss)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Attention, hidden and thrown patches and the frames decoded without either."""
        images = batch["image"]
        weights = self.attention(images, progress)
        hidden, thrown = self.draw_masks(batch, weights, progress)
        decoded = self.reconstruct(images, hidden | thrown)
        return Inspection(
            {"attention": patch_map(weights, images, self.mae.patch_size)}, hidden | thrown, decoded.images
        )
