"""Settings that only one pre-training method uses, a section each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vasomim.config.checks import above_zero, at_least, check, share

Method = Literal["vasomim", "simmim", "amt", "hpm", "deblur", "crossmae", "mocov3", "dino"]


@dataclass(frozen=True, kw_only=True)
class PrototypeConfig:
    """Cross-image term of VasoMIM: vessels of different frames attract each other and repel background."""

    weight: float = 0.0
    """mu: weight of the term; 0 is off. Needs guidance."""
    temperature: float = 0.2
    """Sharpness of the comparison."""

    def __post_init__(self) -> None:
        check(at_least("weight", self.weight, 0), above_zero("temperature", self.temperature))


@dataclass(frozen=True, kw_only=True)
class SimMIMConfig:
    """SimMIM (arXiv 2111.09886): mask tokens in the encoder, a linear head, L1."""

    mask_unit: int = 2
    """Side in patches of the squares that are hidden together."""

    def __post_init__(self) -> None:
        check(at_least("mask_unit", self.mask_unit, 1))


@dataclass(frozen=True, kw_only=True)
class AMTConfig:
    """AMT (arXiv 2211.15362): the class token's attention says what to hide and what to throw away."""

    throw_ratio: float = 0.4
    """Share of the patches that neither encoder nor decoder sees, besides those hidden."""
    start: float = 0.1
    """Share of the run after which attention drives the masks."""

    def __post_init__(self) -> None:
        check(share("throw_ratio", self.throw_ratio), share("start", self.start))


@dataclass(frozen=True, kw_only=True)
class HPMConfig:
    """HPM (arXiv 2304.05919): hide what is predicted to be hard; masking.guided_start and guided_end say how much."""

    momentum: float = 0.999
    """Momentum of the teacher, once the run is long."""
    ranking_weight: float = 1.0
    """Weight of the loss that learns to rank patches by difficulty."""

    def __post_init__(self) -> None:
        check(share("momentum", self.momentum), at_least("ranking_weight", self.ranking_weight, 0))


@dataclass(frozen=True, kw_only=True)
class DeblurConfig:
    """Deblurring MAE (arXiv 2306.08249): blurred frames in, sharp ones out."""

    sigma: float = 1.1
    """Standard deviation of the blur in pixels of the crop."""

    def __post_init__(self) -> None:
        check(at_least("sigma", self.sigma, 0))


@dataclass(frozen=True, kw_only=True)
class CrossMAEConfig:
    """CrossMAE (arXiv 2401.14391): a cross-attention decoder for some of the hidden patches."""

    predict_ratio: float = 0.25
    """Share of all patches that is predicted, at most those hidden."""

    def __post_init__(self) -> None:
        check(share("predict_ratio", self.predict_ratio), above_zero("predict_ratio", self.predict_ratio))


@dataclass(frozen=True, kw_only=True)
class MoCoV3Config:
    """MoCo v3 (arXiv 2104.02057): two crops of a frame agree, those of different frames differ."""

    temperature: float = 0.2
    """tau of the contrastive loss."""
    momentum: float = 0.99
    """Momentum of the second encoder at the start; rises to 1."""
    hidden_dim: int = 1024
    """Width of the heads; published are 4096 for ViT-S and larger."""
    out_dim: int = 256
    """Width in which crops are compared."""
    train_patch_embed: bool = False
    """Train the patch embedding, which MoCo v3 leaves as it was drawn for stability."""

    def __post_init__(self) -> None:
        check(
            above_zero("temperature", self.temperature),
            share("momentum", self.momentum),
            at_least("hidden_dim", self.hidden_dim, 1),
            at_least("out_dim", self.out_dim, 1),
        )


@dataclass(frozen=True, kw_only=True)
class DINOConfig:
    """DINO (arXiv 2104.14294): self-distillation from two large crops to all; crop.scale is that of the large ones."""

    local_crops: int = 6
    """Small crops of each frame, besides two large ones."""
    local_size: int = 96
    """Their side in pixels."""
    local_scale: tuple[float, float] = (0.05, 0.4)
    """Smallest and largest share of the frame's area in a small crop."""
    num_prototypes: int = 4096
    """Outputs of the head; published are 65536."""
    hidden_dim: int = 1024
    """Width of the head; published are 2048."""
    bottleneck_dim: int = 256
    """Width in which prototypes are compared."""
    student_temperature: float = 0.1
    """Divides the student's answers."""
    teacher_temperatures: tuple[float, float] = (0.04, 0.07)
    """Divide the teacher's answers at the start and after the warm-up."""
    temperature_warmup: float = 0.3
    """Share of the run in which the second is reached."""
    fixed_share: float = 0.01
    """Share of the run in which the prototypes stay as they were drawn."""
    momentum: float = 0.996
    """Momentum of the teacher at the start; rises to 1."""
    center_momentum: float = 0.9
    """Momentum of the centre of the teacher's answers."""

    def __post_init__(self) -> None:
        low, high = self.local_scale
        check(
            at_least("local_crops", self.local_crops, 0),
            at_least("local_size", self.local_size, 1),
            (0 < low <= high <= 1, f"local_scale must satisfy 0 < low <= high <= 1, got {self.local_scale}"),
            *(at_least(name, getattr(self, name), 1) for name in ("num_prototypes", "hidden_dim", "bottleneck_dim")),
            above_zero("student_temperature", self.student_temperature),
            above_zero("teacher_temperatures", min(self.teacher_temperatures)),
            *(
                share(name, getattr(self, name))
                for name in ("temperature_warmup", "fixed_share", "momentum", "center_momentum")
            ),
        )
