"""What every pre-training task offers beside its loss, so that validation, pictures and export are the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from vasomim.models.vit import VisionTransformer
from vasomim.tasks.inspection import Inspection
from vasomim.tasks.reconstruction import ReadsPatches, Reconstruction
from vasomim.types import Progress


class EncoderModel(ReadsPatches, Protocol):
    """A model around the encoder that is pre-trained."""

    @property
    def encoder(self) -> VisionTransformer: ...


@runtime_checkable
class Pretrains(Protocol):
    """A task with an encoder to export."""

    @property
    def model(self) -> EncoderModel:
        """Holds the encoder that is probed and exported."""

    def inspect(self, batch: Mapping[str, Tensor], progress: Progress) -> Inspection:
        """What the task sees, hides and decodes of a batch; who asks turns gradients off."""


@runtime_checkable
class Reconstructs(Pretrains, Protocol):
    """A task that decodes frames from some of their patches."""

    @property
    def mask_ratio(self) -> float:
        """Share of the patches it hides."""

    def reconstruct(self, images: Tensor, mask: Tensor) -> Reconstruction:
        """Decode frames (B, C, H, W) in [0, 1] from the patches that `mask` (B, L) leaves visible."""
