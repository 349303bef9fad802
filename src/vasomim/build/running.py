"""Length, data stream, loop settings and optimiser of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vasomim.config import CropConfig, OptimConfig, RunConfig
from vasomim.data.augment import JointCrop
from vasomim.data.device_batches import DeviceBatches, uniform_pack
from vasomim.data.samples import FrameDataset
from vasomim.data.stream import SampleStream, make_loader
from vasomim.engine.loop import FitSettings
from vasomim.engine.optim import build_optimizer, parameter_groups
from vasomim.engine.schedules import Schedule, begun_epochs, cosine_schedule, polynomial_schedule
from vasomim.errors import MisuseError


@dataclass(frozen=True)
class Length:
    """How long a run is, in optimiser steps and in passes over its data."""

    steps: int
    steps_per_epoch: float
    asked: int | None = None
    """Passes asked for, where the run is given in passes."""

    @property
    def epochs(self) -> int:
        """Passes over the data, E of the schedules: as asked for, else those that the steps begin."""
        return begun_epochs(self.steps, self.steps_per_epoch) if self.asked is None else self.asked


def build_length(config: OptimConfig, num_frames: int) -> Length:
    """The length of a run over `num_frames` frames."""
    per_epoch = num_frames / config.batch_size
    steps = config.steps if config.steps is not None else math.ceil((config.epochs or 0) * per_epoch)
    return Length(max(steps, 1), per_epoch, config.epochs)


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
        writing=config.writing,
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
    views: Sequence[JointCrop] = (),
) -> Callable[[int], Iterable[dict[str, Tensor]]]:
    """A function from an optimiser step to the batches from that step on; of each the `share` (process, processes).

    `device` is that of this process; crops may be made on it. Further `views` of each frame are made one by one.

    Raises:
        MisuseError: crops are to be made in batches, and the frames are not those of a pack of one size, or the method
            wants several views of a frame.
    """
    positions = length.steps * optim.batch_size
    if run.augment == "batch" and views:
        raise MisuseError("run.augment=batch makes one crop of a frame, and this method wants several; take auto")
    by_batch = run.augment == "auto" and device.type == "cuda" and not views and uniform_pack(dataset) is not None
    if run.augment == "batch" or by_batch:
        return DeviceBatches(
            dataset,
            crop,
            seed=run.seed,
            length=positions,
            batch_size=optim.batch_size,
            device=device,
            num_workers=run.num_workers,
            share=share,
        )
    stream = SampleStream(dataset, crop, seed=run.seed, length=positions, views=views)
    return lambda start: make_loader(stream, optim.batch_size, start, run.num_workers, *share)


def build_settings(optim: OptimConfig, run: RunConfig, length: Length) -> FitSettings:
    """The loop's settings."""
    return FitSettings(
        total_steps=length.steps,
        steps_per_epoch=length.steps_per_epoch,
        epochs=length.epochs,
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
