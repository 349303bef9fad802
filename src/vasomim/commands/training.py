"""What the training verbs share: opening the run, its data, the loop with a progress bar, and the export."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vasomim.build import build_batches, build_crop, build_length, build_settings, build_trainer
from vasomim.commands.cards import model_card
from vasomim.commands.console import only_listen, progress_bar, say, warn
from vasomim.config import (
    FinetuneConfig,
    PretrainConfig,
    RunConfig,
    SegmentorConfig,
    dump_config,
    idle_settings,
)
from vasomim.data.augment import JointCrop
from vasomim.data.extraction import VesselStore, extract_folder
from vasomim.data.open import open_frames
from vasomim.data.packed import common_settings
from vasomim.data.record_hashes import hash_records
from vasomim.data.samples import FrameDataset, subset, with_vessels
from vasomim.data.sibling_vessels import SiblingVessels, open_vessels
from vasomim.data.splits import split_holdout
from vasomim.data.statistics import pixel_statistics
from vasomim.engine.blocks import checkpoint_activations, compile_blocks, order_weights
from vasomim.engine.fabric import Fabric, build_fabric
from vasomim.engine.loop import FitResult, fit
from vasomim.engine.processes import check_shares, first_alone
from vasomim.engine.run_folder import RunFolder
from vasomim.errors import DataError, MisuseError
from vasomim.models.weights import save_pretrained
from vasomim.types import Progress, Record

TrainingConfig = SegmentorConfig | PretrainConfig | FinetuneConfig
Validate = Callable[[nn.Module, Progress], Mapping[str, float]]


@dataclass(frozen=True)
class UnlabelledData:
    """Frames with their extracted anatomy, some held out."""

    train: FrameDataset
    held: FrameDataset
    statistics: tuple[float, float]
    """Mean and standard deviation of the pixels in [0, 1]."""
    extraction: str
    """What made the anatomy."""


@contextmanager
def training_run(config: TrainingConfig, verb: str) -> Iterator[tuple[Fabric, RunFolder]]:
    """The devices of a run and its folder, new or to be continued; of several processes the first one writes it."""
    fabric = start_processes(config)
    facts = {"seed": config.run.seed, "device": config.run.device, "inputs": [str(path) for path in config.inputs]}
    facts["processes"] = fabric.world_size
    if isinstance(config, FinetuneConfig):
        facts["rasteriser"] = rasteriser_of(config)
    with first_alone(fabric):
        run = RunFolder.open(
            config.out,
            dump_config(config),
            verb,
            facts,
            identity=identity(config),
            usual=identity(type(config)()),
            writer=fabric.is_global_zero,
        )
    with run:
        yield fabric, run


def start_processes(config: TrainingConfig) -> Fabric:
    """This process's place among those of the run; those but the first say nothing from now on."""
    run = config.run
    fabric = build_fabric(run.device, run.precision, run.devices, run.strategy)
    if not fabric.is_global_zero:
        only_listen()
    for line in idle_settings(config):
        warn(line)
    if fabric.world_size == 1 and run.strategy != "auto":
        warn(f"run.strategy={run.strategy} has no effect: there is one device")
    with first_alone(fabric):
        check_shares(config.optim.batch_size, config.optim.accumulate, fabric.world_size)
    return fabric


def rasteriser_of(config: FinetuneConfig) -> str:
    """What made the masks that are learned: a rasteriser of polygons, or the extraction of vessels."""
    return config.rasteriser if config.vessels is None else "extraction"


def identity(config: TrainingConfig) -> str:
    """The settings that make a run this run; where and how often it saves, logs and reads may change."""
    kept = dataclasses.replace(config, out=Path(), run=RunConfig(seed=config.run.seed))
    # A finished run may be exported anew with the other choice.
    return dump_config(dataclasses.replace(kept, flip=False) if isinstance(kept, FinetuneConfig) else kept)


def open_unlabelled(config: SegmentorConfig | PretrainConfig, fabric: Fabric, run: RunFolder) -> UnlabelledData:
    """Read frames without their labels, extract what anatomy is missing, hold some frames out."""
    dataset, extraction = frames_with_vessels(config, fabric, run)
    run.note(data=fingerprint(dataset))
    train, held = split_holdout(dataset, config.holdout)
    if not train:
        raise MisuseError(
            f"all {len(dataset)} frames are held out; give more frames or a holdout below {config.holdout}"
        )
    data, others = subset(dataset, train), subset(dataset, held)
    run.note(held_out=fingerprint(others))
    return UnlabelledData(data, others, pixel_statistics(data), extraction)


def frames_with_vessels(
    config: SegmentorConfig | PretrainConfig, fabric: Fabric, run: RunFolder
) -> tuple[FrameDataset, str]:
    """The frames that have extracted anatomy, and what made it: the folder named, else the packs, else we do now."""
    frames = open_frames(config.inputs, config.dicom.frames, subtract=config.dicom.subtract)
    held = common_settings(config.inputs).vessels
    if config.vessels is None and held is not None:
        say(f"taking the vessels packed with the frames ({held})")
        return frames, held
    with first_alone(fabric):
        store = vessel_store(config, frames, extract=run.writes)
    return with_anatomy(frames, store), store.description


def with_anatomy(frames: FrameDataset, store: VesselStore | SiblingVessels) -> FrameDataset:
    """Those of the frames whose vessels were extracted, with their vessels; says how many others there are.

    Raises:
        DataError: there is none.
    """
    usable = [index for index, record in enumerate(frames.records) if record in store]
    if not usable:
        raise DataError(
            f"none of the {len(frames)} frames has extracted vessels in {store.folder}; are they of other frames?"
        )
    if len(usable) < len(frames):
        warn(f"{len(frames) - len(usable)} of {len(frames)} frames have no extracted vessels and are left out")
    return with_vessels(subset(frames, usable), store)


def vessel_store(
    config: SegmentorConfig | PretrainConfig, frames: FrameDataset, *, extract: bool = True
) -> VesselStore | SiblingVessels:
    """The folder of extracted anatomy named in `config`, or one in the run folder, made here or by another process."""
    if config.vessels is not None:
        return open_vessels(config.vessels)
    return extracted(frames, config.out / "vessels", config.extraction, extract=extract)


def extracted(
    frames: FrameDataset, out: Path, method: Literal["default", "reference"] = "default", *, extract: bool = True
) -> VesselStore:
    """A folder of vessels extracted from frames, what is missing made now, or by another process."""
    if not extract:
        return VesselStore(out)
    with progress_bar("extracting vessels", len(frames)) as step:
        summary = extract_folder(frames.records, out, method=method, progress=lambda: step(1), dataset=frames)
    for line in summary.failures:
        warn(line)
    return VesselStore(out)


def fingerprint(dataset: FrameDataset) -> dict[str, object]:
    """What identifies a data set in run.json: count, and a hash over ids, file sizes and known hashes. No paths."""

    def facts(record: Record) -> str:
        return f"{record.digest or ''}{record.path.stat().st_size}"

    return {"frames": len(dataset), "sha256": hash_records(dataset.records, facts, hashlib.sha256())}


def train(
    fabric: Fabric,
    task: nn.Module,
    dataset: FrameDataset,
    config: TrainingConfig,
    run: RunFolder,
    validate: Validate | None,
    views: Sequence[JointCrop] = (),
) -> FitResult:
    """Run the loop with a progress bar, from the newest checkpoint if there is one; `views` go into each batch."""
    length = build_length(config.optim, len(dataset))
    set_up_computing(task, config.run)
    optimizer, schedule = build_trainer(task, config.optim, length)
    native = isinstance(config, FinetuneConfig) and config.inference == "tile"
    crop = build_crop(config.crop, config.img_size, native=native)
    share = (fabric.global_rank, fabric.world_size)
    batches = build_batches(dataset, crop, config.optim, config.run, length, fabric.device, share, views)
    settings = build_settings(config.optim, config.run, length)
    with progress_bar(run.verb, length.steps, unit="step") as step:
        done = 0

        def on_step(at: int, logs: Mapping[str, float]) -> None:
            nonlocal done
            step(at - done, **{name: f"{value:.4g}" for name, value in logs.items() if name in SHOWN})
            done = at

        return fit(fabric, task, optimizer, schedule, batches, run, settings, validate, on_step)


def set_up_computing(task: nn.Module, run: RunConfig) -> None:
    """Choose how the task computes, which changes its results to rounding at most."""
    order_weights(task)
    if run.checkpoint_activations and not checkpoint_activations(task):
        warn("run.checkpoint_activations has no effect: the model has no transformer blocks")
    if run.compile and not compile_blocks(task):
        warn("run.compile has no effect: the model has no transformer blocks")


SHOWN = ("loss", "reconstruction", "consistency", "samples_per_second", "val/dice", "val/probe_r2")
"""Logged values that the progress bar shows."""


def export_model(
    run: RunFolder,
    model: nn.Module,
    described: Mapping[str, Any],
    settings: TrainingConfig,
    name: str | None = None,
    trained_on: Collection[str] = (),
) -> None:
    """Write the model with config and card to OUT/export, or to OUT/export_NAME."""
    folder = run.export if name is None else run.path / f"export_{name}"
    card = model_card(described, settings, run.record)
    save_pretrained(folder, model, described, card, trained_on=trained_on)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights live."""
    return next(module.parameters()).device
