"""Anatomy-guided masked image modeling (VasoMIM: arXiv 2508.10794, "v1"; arXiv 2602.11536, "v2").

With guidance `none` and a consistency weight of 0 this is plain MAE, to the bit.

Letters: B frames, L patches, P values a patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vasomim.losses import consistency_loss, reconstruction_loss
from vasomim.models.mae import MaskedAutoencoder
from vasomim.ops.masking import guided_fraction, guided_mask, num_hidden
from vasomim.ops.noise import counter_uniform
from vasomim.ops.patches import normalize_patches, patchify, unpatchify
from vasomim.tasks.frozen import FrozenSegmentor
from vasomim.types import Progress, StepOutput


@dataclass(frozen=True, kw_only=True)
class MaskingPlan:
    """What guides the masking and how strongly, from the first epoch to the last."""

    guidance: Literal["none", "anatomy", "co"] = "co"
    mask_ratio: float = 0.5
    eta: float = 0.5
    guided_start: float = 0.0
    guided_end: float = 0.5


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One pass of the autoencoder over a batch, for losses and for pictures."""

    mask: Tensor
    """(B, L) bool, True = hidden."""
    predictions: Tensor
    """(B, L, P) in the space of `targets`."""
    targets: Tensor
    """(B, L, P) patches, normalised one by one if the task says so."""
    images: Tensor
    """(B, C, H, W) the decoded frames in the frames' own grey values (about [0, 1])."""


class PretrainingTask(nn.Module):
    """Masked autoencoder, optional frozen segmentor, guided masking and the two losses.

    L = L_rec + lambda L_cons. Masks are a pure function of (seed, epoch, index) and the guidance, so a frame gets the
    same mask whatever the batch, the device or the number of processes.
    """

    def __init__(
        self,
        mae: MaskedAutoencoder,
        plan: MaskingPlan,
        segmentor: nn.Module | None = None,
        *,
        norm_pix_loss: bool = True,
        consistency_weight: float = 1.0,
    ) -> None:
        """Join the parts; a segmentor is needed by guidance `co` and by a positive consistency weight.

        Raises:
            ValueError: the segmentor is needed and missing.
        """
        super().__init__()
        self.mae = mae
        self.plan = plan
        self.norm_pix_loss = norm_pix_loss
        self.consistency_weight = consistency_weight
        if segmentor is None and (plan.guidance == "co" or consistency_weight > 0):
            raise ValueError("co-guidance and the consistency loss need a segmentor, got none")
        self.segmentor = FrozenSegmentor(segmentor) if segmentor is not None else None

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        """One batch -> L and its terms.

        Args:
            batch: `image` (B, 1, H, W) in [0, 1]; `index` and `epoch` (B,) int64; `vessels` (B, H, W) in [0, 1]
                where the guidance uses them.
            progress: where the run stands; the guided share grows with its epoch.
        """
        images = batch["image"]
        seen = self._segment(images)
        decoded = self.reconstruct(images, self.draw_mask(batch, seen, progress))
        terms = {"reconstruction": reconstruction_loss(decoded.predictions, decoded.targets, decoded.mask)}
        loss = terms["reconstruction"]
        if self.segmentor is not None and seen is not None and self.consistency_weight > 0:
            terms["consistency"] = consistency_loss(self.segmentor(decoded.images).float(), seen)
            loss = loss + self.consistency_weight * terms["consistency"]
        return StepOutput(loss, {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}})

    def draw_mask(self, batch: Mapping[str, Tensor], seen: Tensor | None, progress: Progress) -> Tensor:
        """Hidden patches (B, L) of a batch; `seen` is the segmentor's logits of its frames, if any."""
        images, plan, patch = batch["image"], self.plan, self.mae.patch_size
        num_patches = (images.shape[-2] // patch) * (images.shape[-1] // patch)
        noise = counter_uniform(progress.seed, batch["epoch"], batch["index"], 2 * num_patches)
        share = guided_fraction(progress.epoch, progress.total_epochs, plan.guided_start, plan.guided_end)
        return guided_mask(
            self.guidance_map(batch, seen),
            patch_size=patch,
            mask_ratio=plan.mask_ratio,
            guided_fraction=0.0 if plan.guidance == "none" else share,
            noise=noise.reshape(-1, 2, num_patches),
        )

    def guidance_map(self, batch: Mapping[str, Tensor], seen: Tensor | None) -> Tensor:
        """G (B, H, W), >= 0: zero, B (v1), or eta B + (1 - eta) sigmoid S(I) (v2, "co-guidance")."""
        if self.plan.guidance == "none":
            return torch.zeros_like(batch["image"][:, 0])
        vessels = batch["vessels"]
        if self.plan.guidance == "anatomy" or seen is None:
            return vessels
        return self.plan.eta * vessels + (1 - self.plan.eta) * seen[:, 0].sigmoid()

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode frames (B, C, H, W) in [0, 1] from the patches that `mask` (B, L) leaves visible.

        The decoded frame is made of all predicted patches, hidden and visible. Where patches are normalised, they get
        the mean and variance of the target patch back.
        """
        patch, grid = (
            self.mae.patch_size,
            (images.shape[-2] // self.mae.patch_size, images.shape[-1] // self.mae.patch_size),
        )
        patches = patchify(self.mae.input_norm(images), patch)  # (B, L, P)
        predictions = self.mae(images, mask, num_hidden(mask.shape[1], self.plan.mask_ratio)).float()
        if not self.norm_pix_loss:
            pixels, targets = predictions, patches
        else:
            targets, mean, var = normalize_patches(patches)
            pixels = predictions * var.add(1e-6).sqrt() + mean
        decoded = self.mae.input_norm.inverse(unpatchify(pixels, patch, grid, images.shape[1]))
        return Reconstruction(mask, predictions, targets, decoded)

    def _segment(self, images: Tensor) -> Tensor | None:
        """Logits (B, 1, H, W) of the original frames; one pass serves the guidance and the consistency target."""
        if self.segmentor is None or (self.plan.guidance != "co" and self.consistency_weight == 0):
            return None
        with torch.no_grad():
            logits: Tensor = self.segmentor(images)
        return logits.float()
