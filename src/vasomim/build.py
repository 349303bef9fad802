"""From settings to objects: the only place that knows both. Below this floor everything takes plain arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vasomim.config import CropConfig, FinetuneConfig, OptimConfig, PretrainConfig, RunConfig, SegmentorConfig
from vasomim.data.augment import JointCrop
from vasomim.data.device_batches import DeviceBatches, uniform_pack
from vasomim.data.samples import FrameDataset
from vasomim.data.stream import SampleStream, make_loader
from vasomim.engine.loop import FitSettings
from vasomim.engine.optim import build_optimizer, parameter_groups
from vasomim.engine.schedules import Schedule, cosine_schedule, polynomial_schedule
from vasomim.errors import CheckpointError, MisuseError
from vasomim.losses import soft_cldice_loss, soft_dice_loss
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.norm import InputNorm
from vasomim.models.registry import create_model
from vasomim.models.weights import load_pretrained
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.segmentation import SegmentationLoss, SegmentationTask

HEAD_DIM = 32
"""Channels of one attention head in the published decoder (512 / 16), kept when the width is set."""


@dataclass(frozen=True)
class Length:
    """How long a run is, in optimiser steps and in passes over its data."""

    steps: int
    steps_per_epoch: float

    @property
    def epochs(self) -> int:
        """Passes over the data, the last one counted whole; E of the weak-to-strong schedule."""
        return math.ceil(self.steps / self.steps_per_epoch)


def build_length(config: OptimConfig, num_frames: int) -> Length:
    """The length of a run over `num_frames` frames."""
    per_epoch = num_frames / config.batch_size
    steps = config.steps if config.steps is not None else math.ceil((config.epochs or 0) * per_epoch)
    return Length(max(steps, 1), per_epoch)


def build_crop(config: CropConfig, size: int, *, native: bool = False) -> JointCrop:
    """The random crop of frame, vessels and mask to `size` x `size`."""
    return JointCrop(
        size,
        scale=config.scale,
        ratio=config.ratio,
        horizontal_flip=config.horizontal_flip,
        vertical_flip=config.vertical_flip,
        vessel_aware=config.vessel_aware,
        rotation=config.rotation,
        intensity=config.intensity,
        native=native,
    )


def build_batches(
    dataset: FrameDataset,
    crop: JointCrop,
    optim: OptimConfig,
    run: RunConfig,
    length: Length,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
) -> Callable[[int], Iterable[dict[str, Tensor]]]:
    """A function from an optimiser step to the batches from that step on; of each the `share` (process, processes).

    `device` is that of this process; crops may be made on it.

    Raises:
        MisuseError: crops are to be made in batches, and the frames are not those of a pack of one size.
    """
    if run.augment == "batch" or (run.augment == "auto" and device.type == "cuda" and uniform_pack(dataset)):
        return DeviceBatches(
            dataset,
            crop,
            seed=run.seed,
            length=length.steps * optim.batch_size,
            batch_size=optim.batch_size,
            device=device,
            num_workers=run.num_workers,
            share=share,
        )
    stream = SampleStream(dataset, crop, seed=run.seed, length=length.steps * optim.batch_size)
    return lambda start: make_loader(stream, optim.batch_size, start, run.num_workers, *share)


def build_settings(optim: OptimConfig, run: RunConfig, length: Length) -> FitSettings:
    """The loop's settings."""
    return FitSettings(
        total_steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        seed=run.seed,
        accumulate=optim.accumulate,
        clip_grad=optim.clip_grad,
        ema=optim.ema,
        log_every=run.log_every,
        save_every=run.save_every,
        validate_every=run.validate_every,
        keep=run.keep_checkpoints,
    )


def build_schedule(config: OptimConfig, length: Length) -> Schedule:
    """Learning rate by step. The peak is `lr`, or `base_lr` for each 256 samples of a batch."""
    peak = config.lr if config.lr is not None else config.base_lr * config.batch_size / 256
    if config.schedule == "polynomial":
        return polynomial_schedule(length.steps_per_epoch, length.epochs, peak)
    return cosine_schedule(length.steps, round(config.warmup * length.steps), peak, config.min_lr)


def build_trainer(model: nn.Module, config: OptimConfig, length: Length) -> tuple[torch.optim.Optimizer, Schedule]:
    """Optimiser and learning-rate schedule of the trainable parameters of `model`."""
    decay = config.weight_decay if config.optimizer == "adamw" else 0.0
    groups = parameter_groups(model, weight_decay=decay, layer_decay=config.layer_decay)
    schedule = build_schedule(config, length)
    return build_optimizer(groups, config.optimizer, lr=schedule(0), betas=config.betas), schedule


def build_pretraining(config: PretrainConfig, statistics: tuple[float, float]) -> PretrainingTask:
    """The pre-training task: autoencoder, masking plan, and the frozen segmentor where it has an effect."""
    mae = create_normalised(config.model, statistics, **mae_arguments(config))
    if not isinstance(mae, MaskedAutoencoder):
        raise MisuseError(f"model={config.model} is no masked autoencoder; take one of the mae_* models")
    masking = config.masking
    plan = MaskingPlan(
        guidance=masking.guidance,
        mask_ratio=masking.mask_ratio,
        eta=masking.eta,
        guided_start=masking.guided_start,
        guided_end=masking.guided_end,
    )
    return PretrainingTask(
        mae,
        plan,
        load_segmentor(config.segmentor) if needs_segmentor(config) else None,
        norm_pix_loss=config.norm_pix_loss,
        consistency_weight=config.consistency_weight,
    )


def mae_arguments(config: PretrainConfig) -> dict[str, Any]:
    """What `create_model` needs beside the name to make this autoencoder again."""
    width = config.decoder_embed_dim
    decoder = {
        "decoder_embed_dim": width,
        "decoder_depth": config.decoder_depth,
        "decoder_num_heads": None if width is None else max(width // HEAD_DIM, 1),
    }
    return {"img_size": config.img_size, **{name: value for name, value in decoder.items() if value is not None}}


def needs_segmentor(config: PretrainConfig) -> bool:
    """Whether the segmentor has any effect in this run."""
    return config.consistency_weight > 0 or config.masking.guidance == "co"


def load_segmentor(path: Path | None) -> nn.Module:
    """The segmentor that `vasomim segmentor` trained.

    Raises:
        MisuseError: no path is given.
        CheckpointError: the weights are of another kind.
    """
    if path is None:
        raise MisuseError(
            "co-guidance and the consistency loss need a segmentor, got none; train one with `vasomim segmentor "
            "FRAMES --out DIR` and give --segmentor DIR, or set --masking.guidance anatomy --consistency-weight 0"
        )
    model, facts = load_pretrained(path)
    if facts.get("kind") != "segmentor":
        raise CheckpointError(
            f"{path} holds a {facts.get('kind')}, need a segmentor; make one with `vasomim segmentor`"
        )
    return model


def create_normalised(name: str, statistics: tuple[float, float], **kwargs: Any) -> nn.Module:
    """A model from random weights that normalises its input by `statistics` (mean, std)."""
    model = create_model(name, **kwargs)
    set_statistics(model, statistics)
    return model


def set_statistics(model: nn.Module, statistics: tuple[float, float]) -> None:
    """Make `model` normalise its input by `statistics` (mean, std of pixels in [0, 1])."""
    norm = model.input_norm
    assert isinstance(norm, InputNorm)
    norm.set(*statistics)


def build_segmentor(config: SegmentorConfig, statistics: tuple[float, float]) -> SegmentationTask:
    """UNeXt on extracted anatomy: 0.5 BCE + 0.5 Dice over the whole batch (method: step 4)."""
    model = create_normalised(config.model, statistics)
    return SegmentationTask(model, build_loss(dice=0.5, bce=0.5), target="vessels")


def build_loss(*, dice: float, bce: float, cldice: float = 0.0, cldice_iterations: int = 12) -> SegmentationLoss:
    """A weighted sum of segmentation losses; terms of weight 0 are not computed."""
    losses: Mapping[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
        "dice": (dice, soft_dice_loss),
        "bce": (bce, binary_cross_entropy_with_logits),
        "cldice": (cldice, partial(soft_cldice_loss, iterations=cldice_iterations)),
    }
    active = {name: pair for name, pair in losses.items() if pair[0] > 0}
    return lambda logits, target: {name: weight * loss(logits, target) for name, (weight, loss) in active.items()}


def build_finetuning(config: FinetuneConfig, statistics: tuple[float, float]) -> SegmentationTask:
    """The segmentation task, from random weights."""
    model = create_normalised(config.model, statistics, img_size=config.img_size, drop_path_rate=config.drop_path_rate)
    loss = build_loss(dice=config.dice_weight, bce=config.bce_weight, cldice=config.cldice_weight)
    return SegmentationTask(model, loss, target="mask")
