"""Settings of `vasomim pretrain`: what all methods share, and a section for what only one of them uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vasomim.config.checks import at_least, check, known_model, whole_patches
from vasomim.config.methods import (
    AMTConfig,
    CrossMAEConfig,
    DeblurConfig,
    DINOConfig,
    HPMConfig,
    Method,
    MoCoV3Config,
    PrototypeConfig,
    SimMIMConfig,
)
from vasomim.config.sections import CropConfig, DicomConfig, MaskingConfig, OptimConfig, RunConfig


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Pre-train a Vision Transformer on unlabelled angiograms: VasoMIM, or another method on equal terms."""

    inputs: tuple[Path, ...] = ()
    """Folders of unlabelled frames."""
    dicom: DicomConfig = field(default_factory=DicomConfig)
    out: Path = Path("pretrain")
    """Run folder."""
    vessels: Path | None = None
    """Folder of `vasomim extract`, or with NAME_frangi/ beside NAME/; by default extracted into OUT/vessels."""
    extraction: Literal["default", "reference"] = "default"
    """How to extract where no folder is given."""
    segmentor: Path | None = None
    """Run or export folder of `vasomim segmentor`; needed by co-guidance and by the consistency loss."""
    method: Method = "vasomim"
    """`vasomim` (v1, v2, and MAE: guidance `none`, consistency_weight 0), or another; docs/methods.md compares them."""
    model: str = "mae_vit_tiny_patch16"
    """Architecture of the encoder, and of the decoder where the method has one; `vasomim info` lists them."""
    decoder_embed_dim: int | None = None
    """Width of the decoder; none takes the model's own."""
    decoder_depth: int | None = None
    """Blocks of the decoder; none takes the model's own."""
    init: Path | None = None
    """Weights to start from; not the same as resuming."""
    img_size: int = 224
    """Side of the crops."""
    crop: CropConfig = field(default_factory=CropConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    norm_pix_loss: bool = True
    """Normalise each target patch by its own mean and variance."""
    channels: Literal[1, 3] = 1
    """3, with method `vasomim`: equal channels with ImageNet statistics, as published; exported folded into one."""
    consistency_weight: float = 1.0
    """lambda: weight of the anatomical consistency loss; 0 is off."""
    prototypes: PrototypeConfig = field(default_factory=PrototypeConfig)
    simmim: SimMIMConfig = field(default_factory=SimMIMConfig)
    amt: AMTConfig = field(default_factory=AMTConfig)
    hpm: HPMConfig = field(default_factory=HPMConfig)
    deblur: DeblurConfig = field(default_factory=DeblurConfig)
    crossmae: CrossMAEConfig = field(default_factory=CrossMAEConfig)
    mocov3: MoCoV3Config = field(default_factory=MoCoV3Config)
    dino: DINOConfig = field(default_factory=DINOConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch_size=32, steps=2600, lr=6e-4))
    run: RunConfig = field(default_factory=RunConfig)
    holdout: float = 0.05
    """Share of the frames (whole patients, identical frames together) kept for validation and the vessel probe."""

    def __post_init__(self) -> None:
        check(
            known_model(self.model, "mae_*"),
            at_least("img_size", self.img_size, 1),
            whole_patches(self.img_size, self.model),
            at_least("decoder_embed_dim", self.decoder_embed_dim, 1),
            at_least("decoder_depth", self.decoder_depth, 0),
            at_least("consistency_weight", self.consistency_weight, 0),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
            *self._rules_of_method(),
        )

    def _rules_of_method(self) -> list[tuple[bool, str]]:
        unseen = self.masking.mask_ratio + self.amt.throw_ratio
        part = self.optim.batch_size // self.optim.accumulate
        rules = {
            "vasomim": (
                self.prototypes.weight == 0 or self.masking.guidance != "none",
                "prototypes.weight above 0 needs masking.guidance `anatomy` or `co`, which says where vessels are",
            ),
            "amt": (unseen < 1, f"masking.mask_ratio and amt.throw_ratio must add up to less than 1, got {unseen}"),
            "mocov3": (part > 1, f"mocov3 compares frames: give batch_size / accumulate of at least 2, got {part}"),
        }
        whole = ("amt", "hpm", "mocov3", "dino")  # they look into blocks, or keep a copy of them
        splits = (
            self.run.strategy != "fsdp" or self.method not in whole,
            f"{self.method} needs whole weights on each device, got run.strategy=fsdp; take ddp",
        )
        one = (self.channels == 1 or self.method == "vasomim", f"channels=3 needs method vasomim, got {self.method}")
        return [splits, one, *([rules[self.method]] if self.method in rules else [])]
