"""Every setting of every verb, as frozen dataclasses. A default lives here, once; a field's docstring is its help.

Nothing here imports torch, so that `--help` and configuration mistakes are answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Literal

from vasomim.config.models import MODEL_NAMES

Rasteriser = Literal["arcade-official", "coco"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def _check(*rules: tuple[bool, str]) -> None:
    """Raises one ValueError with a line for each broken rule, so that all mistakes are reported together."""
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise ValueError("\n".join(broken))


def _share(name: str, value: float) -> tuple[bool, str]:
    return 0 <= value <= 1, f"{name} must lie in [0, 1], got {value}"


def _at_least(name: str, value: float, low: float) -> tuple[bool, str]:
    return value >= low, f"{name} must be at least {low}, got {value}"


def _model(name: str, *patterns: str) -> tuple[bool, str]:
    fitting = [known for known in MODEL_NAMES if any(fnmatchcase(known, pattern) for pattern in patterns)]
    near = get_close_matches(name, fitting, 1)
    advice = f"did you mean {near[0]}?" if near else "choose one of " + ", ".join(fitting)
    return name in fitting, f"model must be one of {' or '.join(patterns)}, got {name}; {advice}"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run computes and what it keeps."""

    seed: int = 0
    """Seed of initial weights, sample order, augmentation and masks."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""
    num_workers: int = 2
    """Processes that read and augment frames; 0 reads in the main process."""
    log_every: int = 10
    """Optimiser steps between two lines of metrics.jsonl."""
    save_every: int = 250
    """Optimiser steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept; older ones are deleted."""
    validate_every: int = 250
    """Optimiser steps between two validations."""

    def __post_init__(self) -> None:
        _check(
            _at_least("num_workers", self.num_workers, 0),
            _at_least("log_every", self.log_every, 1),
            _at_least("save_every", self.save_every, 1),
            _at_least("keep_checkpoints", self.keep_checkpoints, 1),
            _at_least("validate_every", self.validate_every, 1),
        )


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """Random resized crop and flip, drawn jointly for frame, vessels and mask."""

    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the frame's area."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    """Smallest and largest width : height."""
    horizontal_flip: float = 0.5
    """Probability of a left-right flip."""
    vertical_flip: float = 0.0
    """Probability of an up-down flip."""
    vessel_aware: int = 1
    """Candidate crops drawn per sample, of which the one with most vessel is taken; 1 is a plain crop."""
    rotation: float = 0.0
    """Largest rotation in degrees."""
    intensity: float = 0.0
    """Strength of random gamma, contrast, brightness, blur and noise; 0 is off, 1 strong."""

    def __post_init__(self) -> None:
        _check(
            (0 < self.scale[0] <= self.scale[1] <= 1, f"scale must satisfy 0 < low <= high <= 1, got {self.scale}"),
            (0 < self.ratio[0] <= self.ratio[1], f"ratio must satisfy 0 < low <= high, got {self.ratio}"),
            _at_least("vessel_aware", self.vessel_aware, 1),
            _share("horizontal_flip", self.horizontal_flip),
            _share("vertical_flip", self.vertical_flip),
            _share("intensity", self.intensity),
        )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser, schedule and length of a run. Optimiser steps are the currency."""

    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (("steps", "epochs"), ("lr", "base_lr"))
    """A recipe or flag that sets one name of a group resets the others that may be none (see `loading`)."""

    batch_size: int = 32
    """Samples per optimiser step over all devices, accumulation included."""
    accumulate: int = 1
    """Parts a batch is computed in; memory falls, the result stays."""
    steps: int | None = None
    """Optimiser steps; give either steps or epochs."""
    epochs: int | None = None
    """Passes over the data; give either steps or epochs."""
    lr: float | None = None
    """Peak learning rate; overrides base_lr."""
    base_lr: float = 1.5e-4
    """Peak learning rate per 256 samples of the batch."""
    schedule: Literal["cosine", "polynomial"] = "cosine"
    """Half-cosine each step, or polynomial (power 0.9) decay each epoch."""
    warmup: float = 0.05
    """Share of the steps with a linear warm-up."""
    min_lr: float = 0.0
    """Learning rate at the end."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """AdamW, or Adam without weight decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's averaging coefficients."""
    weight_decay: float = 0.05
    """Decoupled weight decay; none on biases, norms and other 1-D parameters."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each block to the one below it; 1 is off."""
    clip_grad: float | None = None
    """Largest gradient norm; larger ones are scaled down."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights; the average is what is exported."""

    def __post_init__(self) -> None:
        _check(
            ((self.steps is None) != (self.epochs is None), "give exactly one of steps and epochs"),
            _at_least("steps", 1 if self.steps is None else self.steps, 1),
            _at_least("epochs", 1 if self.epochs is None else self.epochs, 1),
            _at_least("batch_size", self.batch_size, 1),
            (
                self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
                f"accumulate must divide batch_size={self.batch_size}, got {self.accumulate}",
            ),
            (0 <= self.warmup < 1, f"warmup must lie in [0, 1), got {self.warmup}"),
        )


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """Which patches are hidden (method: guided masking, weak to strong)."""

    mask_ratio: float = 0.5
    """gamma: share of patches hidden from the encoder."""
    guidance: Literal["none", "anatomy", "co"] = "co"
    """`none`: plain random masking; `anatomy`: G = B (v1); `co`: G = eta B + (1 - eta) sigmoid S(I) (v2)."""
    eta: float = 0.5
    """Weight of the extracted anatomy B in the co-guidance."""
    guided_start: float = 0.0
    """beta_0: guided share of the hidden patches in the beginning."""
    guided_end: float = 0.5
    """beta_E: guided share of the hidden patches in the last epoch."""

    def __post_init__(self) -> None:
        _check(
            (0 < self.mask_ratio < 1, f"mask_ratio must lie strictly between 0 and 1, got {self.mask_ratio}"),
            _share("eta", self.eta),
            _share("guided_start", self.guided_start),
            _share("guided_end", self.guided_end),
        )


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Extract vessels from frames without any label."""

    inputs: tuple[Path, ...] = ()
    """Folders or files of frames."""
    out: Path = Path("vessels")
    """Folder for masks/, vesselness/ and preview.png."""
    method: Literal["default", "reference"] = "default"
    """Ours, or bit-equal to the published recipe."""
    vesselness: bool = False
    """Also write the float vesselness as 16-bit PNG."""
    workers: int = 0
    """Processes; 0 takes one a core."""


@dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """Make synthetic angiograms with exact masks."""

    out: Path = Path("synthetic")
    """Folder for images/, masks/ and more."""
    num_frames: int = 100
    """Frames to make."""
    size: int = 512
    """Side in pixels."""
    seed: int = 0
    """Frame k is made from seed and k alone."""
    cine: int = 0
    """Frames per cine run; 0 makes single frames."""
    bits: Literal[8, 16] = 8
    """Bits per pixel."""
    stenoses: bool = False
    """Narrow some vessels and write boxes.csv."""
    workers: int = 0
    """Processes; 0 takes one a core."""

    def __post_init__(self) -> None:
        _check(_at_least("num_frames", self.num_frames, 1), _at_least("size", self.size, 64))


@dataclass(frozen=True, kw_only=True)
class SegmentorConfig:
    """Train the vessel segmentor S on extracted masks (UNeXt-S); pretrain freezes it."""

    inputs: tuple[Path, ...] = ()
    """Folders of unlabelled frames."""
    out: Path = Path("segmentor")
    """Run folder."""
    vessels: Path | None = None
    """Folder made by `vasomim extract`; without it the anatomy is extracted first, into OUT/vessels."""
    extraction: Literal["default", "reference"] = "default"
    """How to extract where no folder is given."""
    model: str = "unext_s"
    """Segmentor architecture."""
    img_size: int = 224
    """Side of the crops."""
    crop: CropConfig = field(default_factory=CropConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            batch_size=256, epochs=200, lr=1e-3, schedule="polynomial", warmup=0.0, optimizer="adam", betas=(0.9, 0.999)
        )
    )
    run: RunConfig = field(default_factory=RunConfig)
    holdout: float = 0.05
    """Share of the frames (whole patients, identical frames together) kept for validation."""

    def __post_init__(self) -> None:
        _check(
            _model(self.model, "unext_*"),
            _at_least("img_size", self.img_size, 1),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
        )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Pre-train a Vision Transformer on unlabelled angiograms (VasoMIM; MAE with guidance and consistency off)."""

    inputs: tuple[Path, ...] = ()
    """Folders of unlabelled frames."""
    out: Path = Path("pretrain")
    """Run folder."""
    vessels: Path | None = None
    """Folder made by `vasomim extract`; without it the anatomy is extracted first, into OUT/vessels."""
    extraction: Literal["default", "reference"] = "default"
    """How to extract where no folder is given."""
    segmentor: Path | None = None
    """Run or export folder of `vasomim segmentor`; needed by co-guidance and by the consistency loss."""
    model: str = "mae_vit_tiny_patch16"
    """Architecture; `vasomim info` lists them."""
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
    consistency_weight: float = 1.0
    """lambda: weight of the anatomical consistency loss; 0 is off."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch_size=32, steps=2600, lr=6e-4))
    run: RunConfig = field(default_factory=RunConfig)
    holdout: float = 0.05
    """Share of the frames (whole patients, identical frames together) kept for validation and the vessel probe."""

    def __post_init__(self) -> None:
        _check(
            _model(self.model, "mae_*"),
            _at_least("img_size", self.img_size, 1),
            _at_least("consistency_weight", self.consistency_weight, 0),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
        )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune for vessel segmentation with few labels."""

    inputs: tuple[Path, ...] = ()
    """Labelled data: folders with images/ and masks/, or ARCADE folders."""
    out: Path = Path("finetune")
    """Run folder."""
    val: tuple[Path, ...] = ()
    """Labelled data to report on while training; without it a holdout of the input is used."""
    holdout: float = 0.1
    """Share of the input set aside where no val is given; 0 trains on everything."""
    labels: str = "1.0"
    """A share of the labels such as 0.1, a count such as 50, or a text file with one frame id a line."""
    model: str = "vit_tiny_patch16_unet"
    """Architecture; `vasomim info` lists them."""
    init: str = "scratch"
    """`scratch`, a run or export folder, or a weight file (ours, timm or MAE keys)."""
    img_size: int = 224
    """Side of the training crops and, with `inference=resize`, of the frames at prediction."""
    inference: Literal["resize", "tile"] = "resize"
    """`resize`: crops are shares of the whole frame; `tile`: crops keep the native pixel size."""
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
        _check(
            _model(self.model, "*_unet", "unext_*"),
            _at_least("img_size", self.img_size, 1),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
            (0 <= self.drop_path_rate < 1, f"drop_path_rate must lie in [0, 1), got {self.drop_path_rate}"),
            (min(weights) >= 0 < max(weights), f"loss weights must not be negative, nor all 0, got {weights}"),
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure a segmenter, or a folder of predicted masks, against labels."""

    inputs: tuple[Path, ...] = ()
    """Labelled data: folders with images/ and masks/, or ARCADE folders."""
    out: Path | None = None
    """Folder for evaluation.json, per_image.csv and report.html; without it only the table is printed."""
    weights: str | None = None
    """Run folder, export folder or weight file to evaluate."""
    predictions: Path | None = None
    """Folder of predicted masks (0/255 PNG by frame stem) to evaluate instead of weights."""
    compare: Path | None = None
    """evaluation.json or folder of another evaluation of the same frames, for a paired test."""
    size: int | None = None
    """Side the frames and labels are resized to (224 is the paper's protocol); none is native size."""
    threshold: float | None = None
    """Probability from which a pixel is vessel; none takes the threshold stored with the weights."""
    rasteriser: Rasteriser = "arcade-official"
    """How polygons become masks."""
    batch_size: int = 8
    """Frames computed together."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Segment vessels in files or folders."""

    inputs: tuple[Path, ...] = ()
    """Frames or folders of frames."""
    out: Path = Path("predictions")
    """Folder for masks/, overlays/ and probability/."""
    weights: str | None = None
    """Run folder, export folder or weight file."""
    threshold: float | None = None
    """Probability from which a pixel is vessel; none takes the threshold stored with the weights."""
    inference: Literal["resize", "tile"] | None = None
    """Overrides how the weights were made to be used."""
    overlays: bool = True
    """Write overlays/."""
    probability: bool = True
    """Write probability/ as 16-bit PNG (65535 = 1)."""
    batch_size: int = 4
    """Frames or tiles computed together."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The whole chain in a few minutes: extract, segmentor, pre-train, fine-tune, evaluate, predict, report."""

    inputs: tuple[Path, ...] = ()
    """Labelled real frames to run on; without them synthetic angiograms are made."""
    out: Path = Path("demo")
    """Folder for everything the demo makes; report.html is the page to open."""
    seed: int = 0
    """Seed of everything."""
    minutes: float = 4.0
    """Time budget; the steps of every method shrink alike to fit."""


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Versions, devices and models at hand."""

    devices: bool = False
    """Also list the devices torch can compute on; loads torch, which takes seconds."""
