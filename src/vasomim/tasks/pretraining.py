"""Anatomy-guided masked image modeling (VasoMIM: arXiv 2508.10794, "v1"; arXiv 2602.11536, "v2").

With guidance `none` and a consistency weight of 0 this is plain MAE (arXiv 2111.06377), to the bit.

Letters: B frames, L patches, P values a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vasomim.losses import consistency_loss, reconstruction_loss
from vasomim.models.mae import MaskedAutoencoder
from vasomim.ops.masking import guided_mask, num_hidden, share_at_epoch
from vasomim.tasks.frozen import FrozenSegmentor
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.prototypes import cross_image_term
from vasomim.tasks.reconstruction import Reconstruction, decode, mask_noise, num_patches
from vasomim.types import Progress, StepOutput

Masker = Callable[..., Tensor]
"""As `guided_mask`: guidance (B, H, W); by name patch_size, mask_ratio, guided_fraction, noise -> bool (B, L)."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""As `reconstruction_loss`: predictions (B, L, P), targets (B, L, P), mask (B, L) -> scalar."""


@dataclass(frozen=True, kw_only=True)
class MaskingPlan:
    """What guides the masking and how strongly, from the first epoch to the last."""

    guidance: Literal["none", "anatomy", "co"] = "co"
    """`none` hides patches at random, `anatomy` is v1 (G = B), `co` is v2 (B and the segmentor)."""
    mask_ratio: float = 0.5
    """gamma in [0, 1), the share of patches hidden."""
    eta: float = 0.5
    """Weight of B in co-guidance, in [0, 1]; the rest is that of the segmentor."""
    guided_start: float = 0.0
    """beta_0 in [0, 1], the guided share of the hidden patches from which it moves epoch by epoch."""
    guided_end: float = 0.5
    """beta_E in [0, 1], the guided share in the last epoch."""


class PretrainingTask(nn.Module):
    """Masked autoencoder, optional frozen segmentor, guided masking and the two losses.

    L = L_rec + lambda L_cons (+ mu L_proto across frames, off by default). Masks are a pure function of (seed, epoch,
    index) and the guidance, so a frame gets the same mask whatever the batch, the device or the number of processes.
    """

    def __init__(
        self,
        mae: MaskedAutoencoder,
        plan: MaskingPlan,
        segmentor: nn.Module | None = None,
        *,
        norm_pix_loss: bool = True,
        consistency_weight: float = 1.0,
        prototype_weight: float = 0.0,
        prototype_temperature: float = 0.2,
        masker: Masker = guided_mask,
        loss: Loss = reconstruction_loss,
    ) -> None:
        """Join the parts; a segmentor is needed by guidance `co` and by a positive consistency weight.

        Args:
            mae: What is trained.
            plan: What guides the masking.
            segmentor: Logits of frames; it is frozen.
            norm_pix_loss: Normalise each target patch by its own mean and variance.
            consistency_weight: lambda.
            prototype_weight: mu.
            prototype_temperature: Sharpness of the term across frames.
            masker: From guidance to hidden patches, as many in each row as `num_hidden` says.
            loss: From predictions and targets to L_rec.

        Raises:
            ValueError: the segmentor is needed and missing, or there is no guidance to pool prototypes by.
        """
        super().__init__()
        self.mae = mae
        self.plan = plan
        self.norm_pix_loss = norm_pix_loss
        self.consistency_weight = consistency_weight
        self.prototype_weight, self.prototype_temperature = prototype_weight, prototype_temperature
        self.masker, self.loss = masker, loss
        if prototype_weight > 0 and plan.guidance == "none":
            raise ValueError("prototypes are pooled by the guidance, which is none")
        if segmentor is None and (plan.guidance == "co" or consistency_weight > 0):
            raise ValueError("co-guidance and the consistency loss need a segmentor, got none")
        self.segmentor = FrozenSegmentor(segmentor) if segmentor is not None else None

    @property
    def model(self) -> MaskedAutoencoder:
        """Holds the encoder."""
        return self.mae

    @property
    def mask_ratio(self) -> float:
        """Share of the patches hidden."""
        return self.plan.mask_ratio

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
        terms = {"reconstruction": self.loss(decoded.predictions, decoded.targets, decoded.mask)}
        loss = terms["reconstruction"]
        if self.segmentor is not None and seen is not None and self.consistency_weight > 0:
            terms["consistency"] = consistency_loss(self.segmentor(decoded.images).float(), seen)
            loss = loss + self.consistency_weight * terms["consistency"]
        if self.prototype_weight > 0:
            terms["prototypes"] = self._across_frames(batch, self.guidance_map(batch, seen))
            loss = loss + self.prototype_weight * terms["prototypes"]
        return StepOutput.of(loss, **terms)

    def draw_mask(self, batch: Mapping[str, Tensor], seen: Tensor | None, progress: Progress) -> Tensor:
        """Hidden patches (B, L) of a batch; `seen` is the segmentor's logits of its frames, if any."""
        plan, patch = self.plan, self.mae.patch_size
        share = share_at_epoch(progress.epoch, progress.total_epochs, plan.guided_start, plan.guided_end)
        return self.masker(
            self.guidance_map(batch, seen),
            patch_size=patch,
            mask_ratio=plan.mask_ratio,
            guided_fraction=0.0 if plan.guidance == "none" else share,
            noise=mask_noise(batch, progress, 2, num_patches(batch["image"], patch)),
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
        """Decode frames (B, C, H, W) in [0, 1] from the patches that `mask` (B, L) leaves visible."""
        mae = self.mae
        predictions = mae(images, mask, num_hidden(mask.shape[1], self.plan.mask_ratio))
        return decode(images, mask, predictions, mae, norm_pix_loss=self.norm_pix_loss)

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """Guidance, hidden patches and decoded frames of a batch, as in training."""
        images = batch["image"]
        seen = self._segment(images)
        mask = self.draw_mask(batch, seen, progress)
        return Inspection({"guidance": self.guidance_map(batch, seen)}, mask, self.reconstruct(images, mask).images)

    def _across_frames(self, batch: Mapping[str, Tensor], guidance: Tensor) -> Tensor:
        """The cross-image term of a batch under G (B, H, W); one more pass of the encoder."""
        tokens = self.mae.encoder.forward_features(self.mae.input_norm(batch["image"]))[:, 1:]
        return cross_image_term(tokens, guidance, batch["vessels"], self.mae.patch_size, self.prototype_temperature)

    def _segment(self, images: Tensor) -> Tensor | None:
        """Logits (B, 1, H, W) of the original frames; one pass serves the guidance and the consistency target."""
        if self.segmentor is None or (self.plan.guidance != "co" and self.consistency_weight == 0):
            return None
        with torch.no_grad():
            logits: Tensor = self.segmentor(images)
        return logits.float()
