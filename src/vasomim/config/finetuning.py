"""Settings of `vasomim finetune`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vasomim.config.checks import at_least, check, known_model, whole_patches
from vasomim.config.sections import CropConfig, OptimConfig, Rasteriser, RunConfig, TreeConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune for vessel segmentation with few labels."""

    inputs: tuple[Path, ...] = ()
    """Labelled data: folders with images/ and masks/, or ARCADE folders."""
    out: Path = Path("finetune")
    """Run folder."""
    vessels: Path | None = None
    """Folder made by `vasomim extract`: learn its masks of INPUT, then frames without labels, for want of labels."""
    val: tuple[Path, ...] = ()
    """Labelled data to report on while training; without it a holdout of the input is used."""
    holdout: float = 0.1
    """Share of the input set aside where no val is given; 0 trains on everything."""
    labels: str = "1.0"
    """A share of the labels such as 0.1, a count such as 50, or a text file with one frame id a line."""
    model: str = "vit_tiny_patch16_unet"
    """Architecture; `vasomim info` lists them."""
    init: str = "scratch"
    """`scratch`, `encoder` (of the package), a run or export folder, or a weight file (ours, timm or MAE keys)."""
    tree: TreeConfig = field(default_factory=TreeConfig)
    img_size: int = 224
    """Side of the training crops and, with `inference=resize`, of the frames at prediction."""
    frame_size: int | None = None
    """Side of the frames at prediction with `inference=resize` where it is not that of the crops, which show parts."""
    stride: int = 1
    """2: convolutions compute at half the size of the frames, and the ViT sees them at half their size."""
    inference: Literal["resize", "tile"] = "resize"
    """`resize`: crops are shares of the whole frame; `tile`: crops keep the native pixel size."""
    flip: bool = False
    """At prediction, average with what the network finds in the mirrored frame; twice the time."""
    rasteriser: Rasteriser = "arcade-official"
    """How polygons become masks."""
    crop: CropConfig = field(default_factory=lambda: CropConfig(scale=(0.5, 1.0), rotation=15, intensity=0.3))
    drop_path_rate: float = 0.1
    """Stochastic depth in the encoder."""
    dice_weight: float = 1.0
    """Weight of the soft Dice loss."""
    bce_weight: float = 1.0
    """Weight of the cross-entropy."""
    cldice_weight: float = 0.0
    """Weight of the soft-clDice loss, which rewards unbroken centrelines; 0 is off."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            batch_size=16, steps=400, lr=1e-3, betas=(0.9, 0.999), layer_decay=0.75, clip_grad=1.0, warmup=0.1
        )
    )
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        weights = (self.dice_weight, self.bce_weight, self.cldice_weight)
        check(
            known_model(self.model, "*_unet", "unet_*", "unext_*"),
            at_least("img_size", self.img_size, 1),
            whole_patches(self.img_size, self.model, max(self.stride, 1)),
            at_least("frame_size", self.frame_size, 1),
            (self.stride in (1, 2), f"stride must be 1 or 2, got {self.stride}"),
            (self.stride == 1 or self.model.startswith("vit_"), f"stride is for models with a ViT, not {self.model}"),
            (
                not self.tree.learn or self.vessels is None,
                "vessels stand in for labels, which tree.learn needs",
            ),
            (not self.tree.learn or not self.model.startswith("unet_"), f"{self.model} cannot learn a tree"),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
            (0 <= self.drop_path_rate < 1, f"drop_path_rate must lie in [0, 1), got {self.drop_path_rate}"),
            (min(weights) >= 0 < max(weights), f"loss weights must not be negative, nor all 0, got {weights}"),
        )
