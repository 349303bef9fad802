"""Settings that several verbs share, as sections of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vasomim.config.checks import above_zero, at_least, check, share

Rasteriser = Literal["arcade-official", "coco"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Strategy = Literal["auto", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run computes and what it keeps."""

    seed: int = 0
    """Seed of initial weights, sample order, augmentation and masks."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""
    devices: int = 0
    """Devices of each machine, a process for each; 0 takes what torchrun or SLURM started, else one."""
    strategy: Strategy = "auto"
    """How several devices share the work: `ddp` (as auto), or `fsdp`, which also splits the weights over them."""
    compile: bool = False
    """Compile the transformer blocks; the first steps then take minutes."""
    checkpoint_activations: bool = False
    """Compute the blocks' activations again in the backward pass: less memory, more time, the same result."""
    num_workers: int = 2
    """Processes that read and augment frames, for each device; 0 reads in the main process."""
    augment: Literal["auto", "sample", "batch"] = "auto"
    """`sample`: crops are made one by one in the workers; `batch`: together on the device, from a pack of frames of one
    size; `auto`: `batch` on a GPU where the input is such a pack."""
    log_every: int = 10
    """Optimiser steps between two lines of metrics.jsonl."""
    save_every: int = 250
    """Optimiser steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Checkpoints kept; older ones are deleted."""
    validate_every: int = 250
    """Optimiser steps between two validations."""

    def __post_init__(self) -> None:
        check(
            at_least("seed", self.seed, 0),
            (self.seed < 1 << 63, f"seed must be below 2^63, got {self.seed}"),
            at_least("devices", self.devices, 0),
            at_least("num_workers", self.num_workers, 0),
            at_least("log_every", self.log_every, 1),
            at_least("save_every", self.save_every, 1),
            at_least("keep_checkpoints", self.keep_checkpoints, 1),
            at_least("validate_every", self.validate_every, 1),
        )


@dataclass(frozen=True, kw_only=True)
class DicomConfig:
    """What is taken of DICOM files; without effect on other frames."""

    frames: str | None = None
    """Frames of each run: `best` (most contrast), a number or a slice as in Python (7, -1, 10:40, ::5); none is all."""
    subtract: bool = False
    """Take frames less their mask where the file recommends that (RecommendedViewingMode SUB)."""


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
    writing: float = 0.0
    """Probability of random text and rulers burned into a crop, as exported frames hold them."""

    def __post_init__(self) -> None:
        check(
            (0 < self.scale[0] <= self.scale[1] <= 1, f"scale must satisfy 0 < low <= high <= 1, got {self.scale}"),
            (0 < self.ratio[0] <= self.ratio[1], f"ratio must satisfy 0 < low <= high, got {self.ratio}"),
            at_least("vessel_aware", self.vessel_aware, 1),
            share("horizontal_flip", self.horizontal_flip),
            share("vertical_flip", self.vertical_flip),
            share("intensity", self.intensity),
            share("writing", self.writing),
        )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser, schedule and length of a run. Optimiser steps are the currency."""

    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (("steps", "epochs"), ("lr", "base_lr"))
    """A recipe or flag that sets one name of a group resets the others that may be none (see `loading`)."""

    batch_size: int = 32
    """Samples per optimiser step over all devices, accumulation included."""
    accumulate: int = 1
    """Parts a batch is computed in: less memory, the same result but where samples meet, as in BatchNorm."""
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
        check(
            ((self.steps is None) != (self.epochs is None), "give exactly one of steps and epochs"),
            at_least("steps", self.steps, 1),
            at_least("epochs", self.epochs, 1),
            at_least("batch_size", self.batch_size, 1),
            (
                self.accumulate >= 1 and self.batch_size % self.accumulate == 0,
                f"accumulate must divide batch_size={self.batch_size}, got {self.accumulate}",
            ),
            (0 <= self.warmup < 1, f"warmup must lie in [0, 1), got {self.warmup}"),
            *self._rules_of_rates(),
        )

    def _rules_of_rates(self) -> list[tuple[bool, str]]:
        low, high = min(self.betas), max(self.betas)
        return [
            at_least("lr", self.lr, 0),
            above_zero("base_lr", self.base_lr),
            at_least("min_lr", self.min_lr, 0),
            (low >= 0 and high < 1, f"betas must lie in [0, 1), got {self.betas}"),
            at_least("weight_decay", self.weight_decay, 0),
            (0 < self.layer_decay <= 1, f"layer_decay must lie in (0, 1], got {self.layer_decay}"),
            above_zero("clip_grad", self.clip_grad),
            (self.ema is None or 0 <= self.ema < 1, f"ema must lie in [0, 1), got {self.ema}"),
        ]


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
        check(
            (0 < self.mask_ratio < 1, f"mask_ratio must lie strictly between 0 and 1, got {self.mask_ratio}"),
            share("eta", self.eta),
            share("guided_start", self.guided_start),
            share("guided_end", self.guided_end),
        )


@dataclass(frozen=True, kw_only=True)
class TreeConfig:
    """A second output that learns the whole vessel tree, where labels show its main vessels alone."""

    learn: bool = False
    """Learn it; of labelled frames, the labels and extracted vessels (into OUT/vessels) together are the tree."""
    unlabelled: tuple[Path, ...] = ()
    """Frames without labels, whose extracted vessels are their tree."""
    drawn: tuple[Path, ...] = ()
    """Labelled data whose masks show whole trees, such as synthetic frames."""
    share: float = 0.4
    """Share of the samples that are of `unlabelled` and `drawn`."""

    def __post_init__(self) -> None:
        check(
            (0 < self.share < 1, f"share must lie strictly between 0 and 1, got {self.share}"),
            (self.learn or not (self.unlabelled or self.drawn), "tree.unlabelled and tree.drawn need --tree.learn"),
        )
