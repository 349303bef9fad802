"""What is compared: each method as data, from what it starts to the recipe of its fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a method trains before it sees a label."""

    recipe: str
    """Recipe of the command."""
    verb: Literal["pretrain", "finetune"] = "pretrain"
    """`finetune` is supervised pre-training: on extracted vessels, or on synthetic frames."""
    frames: Literal["real", "synthetic", "mixed"] = "real"
    """What it looks at."""
    extraction: Literal["default", "reference"] = "default"
    """How the vessels of the frames were found."""
    segmentor: Literal["none", "trained", "damaged"] = "none"
    """The frozen segmentor it needs: as trained, or partly drawn anew as the published code leaves it."""
    flags: tuple[str, ...] = ()
    """Settings that differ from the recipe."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of the table."""

    title: str
    """Its name in tables and figures."""
    start: Start | None = None
    """What comes before fine-tuning; None starts from random weights."""
    finetune: str = "finetune_laptop"
    """Recipe of the fine-tuning."""
    pretrained_as: str | None = None
    """Another method whose pre-training this one shares."""
    tried: int = 0
    """Configurations of this method alone that were tried on training frames set aside."""


MAE = Start(recipe="mae_laptop")
VASOMIM = Start(recipe="pretrain_laptop", segmentor="trained")

MAIN: dict[str, Method] = {
    "scratch": Method(title="from scratch", tried=2),
    "mae": Method(title="plain MAE", start=MAE),
    "vasomim_v1": Method(title="VasoMIM v1", start=Start(recipe="vasomim_v1_laptop", segmentor="trained")),
    "vasomim": Method(title="VasoMIM v2", start=VASOMIM),
    "simmim": Method(title="SimMIM", start=Start(recipe="simmim_laptop")),
    "amt": Method(title="AMT", start=Start(recipe="amt_laptop")),
    "hpm": Method(title="HPM", start=Start(recipe="hpm_laptop")),
    "deblur": Method(title="Deblurring MAE", start=Start(recipe="deblur_laptop")),
    "crossmae": Method(title="CrossMAE", start=Start(recipe="crossmae_laptop")),
    "mocov3": Method(title="MoCo v3", start=Start(recipe="mocov3_laptop")),
    "dino": Method(title="DINO", start=Start(recipe="dino_laptop")),
    "pseudo_labels": Method(title="pseudo-labels", start=Start(recipe="pseudo_laptop", verb="finetune")),
    "synthetic": Method(
        title="synthetic frames", start=Start(recipe="synthetic_laptop", verb="finetune", frames="synthetic")
    ),
    "unet": Method(title="U-Net as nnU-Net plans it", finetune="unet_laptop"),
}
"""The methods of the main table by name. `scratch` and `mae` are what the others are tested against."""
BASELINES = ("mae", "scratch")
