"""What is compared: each method as data, from what it starts to the recipe of its fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


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
    share: float = 1.0
    """Of the budget's steps that it takes: less where a step costs more, so that both take about the same time."""
    cost: float = 1.0
    """Processor time of a step, MAE = 1 (results/method_cost.json); of supervised ones, fine-tuning a ViT = 1."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of the table."""

    title: str
    """Its name in tables and figures."""
    start: Start | None = None
    """What comes before fine-tuning; None starts from random weights."""
    finetune: str = "finetune_laptop"
    """Recipe of the fine-tuning."""
    cost: float = 1.0
    """Processor time of a step of it, a ViT's = 1 (results/finetune_cost.json), to estimate cells that were not run."""
    tried: int = 0
    """Configurations of this method alone that were tried on training frames set aside."""
    varies: str = ""
    """Of an ablation: what differs from VasoMIM v2."""

    @property
    def has_encoder(self) -> bool:
        """Whether a ViT is fine-tuned, of the size the grid asks for."""
        return not self.finetune.startswith("unet")


MAE = Start(recipe="mae_laptop")
VASOMIM = Start(recipe="pretrain_laptop", segmentor="trained", cost=1.37)

MAIN: dict[str, Method] = {
    "scratch": Method(title="from scratch", tried=2),
    "scratch_flat": Method(title="from scratch, no layer decay", finetune="scratch_laptop"),
    "mae": Method(title="plain MAE", start=MAE),
    "vasomim_v1": Method(title="VasoMIM v1", start=Start(recipe="vasomim_v1_laptop", segmentor="trained", cost=1.39)),
    "vasomim": Method(title="VasoMIM v2", start=VASOMIM),
    "prototypes": Method(
        title="VasoMIM v2 + cross-image term", start=replace(VASOMIM, flags=("--prototypes.weight", "0.1"))
    ),
    "simmim": Method(title="SimMIM", start=Start(recipe="simmim_laptop", cost=1.62)),
    "amt": Method(title="AMT", start=Start(recipe="amt_laptop", cost=0.85)),
    "hpm": Method(title="HPM", start=Start(recipe="hpm_laptop", cost=1.32)),
    "deblur": Method(title="Deblurring MAE", start=Start(recipe="deblur_laptop", cost=0.61)),
    "crossmae": Method(title="CrossMAE", start=Start(recipe="crossmae_laptop", cost=0.48)),
    "mocov3": Method(title="MoCo v3", start=Start(recipe="mocov3_laptop", cost=4.38)),
    "dino": Method(title="DINO", start=Start(recipe="dino_laptop", cost=5.54)),
    "pseudo_labels": Method(title="pseudo-labels", start=Start(recipe="pseudo_laptop", verb="finetune")),
    "pseudo_labels_third": Method(
        title="pseudo-labels, 1/3 of the steps", start=Start(recipe="pseudo_laptop", verb="finetune", share=1 / 3)
    ),
    "synthetic": Method(
        title="synthetic frames", start=Start(recipe="synthetic_laptop", verb="finetune", frames="synthetic")
    ),
    "unet": Method(title="U-Net as nnU-Net plans it", finetune="unet_laptop", cost=3.61),
    "unet_half": Method(title="U-Net, half the channels", finetune="unet_half_laptop", cost=0.97),
}
"""The methods of the main table by name. `scratch` and `mae` are what the others are tested against."""
BASELINES = ("mae", "scratch")


def variant(varies: str, title: str, *flags: str, **changes: Any) -> Method:
    """VasoMIM v2 with other settings."""
    return Method(title=title, start=replace(VASOMIM, flags=flags, **changes), varies=varies)


ABLATIONS: dict[str, Method] = {
    "guidance_alone": variant("guidance x consistency", "guidance alone", "--consistency-weight", "0"),
    "consistency_alone": variant("guidance x consistency", "consistency alone", "--guidance", "none"),
    "gamma_0.35": variant("gamma", "gamma 0.35", "--mask-ratio", "0.35"),
    "gamma_0.75": variant("gamma", "gamma 0.75", "--mask-ratio", "0.75"),
    "beta_0.25": variant("beta_E", "beta_E 0.25", "--guided-end", "0.25"),
    "beta_1.0": variant("beta_E", "beta_E 1.0", "--guided-end", "1.0"),
    "eta_0.0": variant("eta", "eta 0 (segmentor alone)", "--eta", "0"),
    "eta_1.0": variant("eta", "eta 1 (anatomy alone)", "--eta", "1"),
    "lambda_0.3": variant("lambda", "lambda 0.3", "--consistency-weight", "0.3"),
    "lambda_3.0": variant("lambda", "lambda 3", "--consistency-weight", "3"),
    "three_channels": variant("channels", "three channels", "--channels", "3"),
    "vessel_crops": variant("crops", "crops that hold vessel", "--vessel-aware", "4"),
    "reference_extraction": variant("extraction", "extraction as published", extraction="reference"),
    "damaged_segmentor": variant("segmentor", "segmentor damaged as published", segmentor="damaged"),
    "mixed_frames": variant("frames", "synthetic frames mixed in", frames="mixed"),
}
"""VasoMIM v2 with one thing changed. Tested against it and against plain MAE, the fourth cell of the first two."""
ABLATION_BASELINES = ("vasomim", "mae")
