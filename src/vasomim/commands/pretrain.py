"""`vasomim pretrain`: anatomy-guided masked image modeling on unlabelled angiograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from vasomim.build import build_length, build_pretraining, mae_arguments, needs_segmentor
from vasomim.commands.console import print_result, say, warn
from vasomim.commands.training import (
    UnlabelledData,
    device_of,
    export_model,
    open_run,
    open_unlabelled,
    train,
)
from vasomim.config import PretrainConfig
from vasomim.data.frames import write_png
from vasomim.engine.report import write_report
from vasomim.engine.runs import RunFolder
from vasomim.engine.validation import load_maps, pretraining_losses, probe_score, reconstruction_sheet
from vasomim.models.weights import load_weights
from vasomim.tasks.pretraining import PretrainingTask
from vasomim.types import Progress
from vasomim.viz.pages import html_figure

PROBE_FIT, PROBE_TEST = 300, 200
"""Frames of the vessel probe: fitted on training frames, scored on held-out ones."""


def run(config: PretrainConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Train, validate with losses and a vessel probe, export the encoder, write OUT/report.html."""
    warn_of_idle_settings(config)
    torch.manual_seed(config.run.seed)
    with open_run(config, "pretrain") as (fabric, folder):
        data = open_unlabelled(config, fabric, folder)
        task = build_pretraining(config, data.statistics)
        if config.init is not None:
            say(load_weights(task.mae, config.init).table())
        validate = validator(task, data, config, folder)
        result = train(fabric, task, data.train, config, folder, validate)
        if not folder.writes:
            return 0
        final = validate(task, last_progress(config, data)) if validate is not None else {}
        export(folder, task, config, final)
        write_report(folder.path, "Pre-training", [("Held-out frames", last_sheet(task, data, config))])
    print_result({"out": str(config.out), "step": result.step, **final}, json=json)
    return 0


def warn_of_idle_settings(config: PretrainConfig) -> None:
    """Say which settings have no effect in this run."""
    if config.segmentor is not None and not needs_segmentor(config):
        warn("--segmentor has no effect: guidance is not `co` and consistency_weight is 0")
    if config.masking.guidance == "none" and config.masking.guided_end != PretrainConfig().masking.guided_end:
        warn("masking.guided_end has no effect: guidance is `none`")


def validator(
    task: PretrainingTask, data: UnlabelledData, config: PretrainConfig, folder: RunFolder
) -> Callable[[nn.Module, Progress], Mapping[str, float]] | None:
    """Losses, vessel probe and a picture sheet of the held-out frames; none where no frame is held out."""
    if not len(data.held):
        return None
    fit = load_maps(data.train, config.img_size, PROBE_FIT)
    held = load_maps(data.held, config.img_size, PROBE_TEST)

    def validate(module: nn.Module, progress: Progress) -> Mapping[str, float]:  # noqa: ARG001
        device = device_of(task)
        if folder.writes:
            picture = reconstruction_sheet(task, held, progress, device)
            write_png(folder.path / "sheets" / f"step_{progress.step:08d}.png", picture)
        return {**pretraining_losses(task, held, device), "probe_r2": probe_score(task, fit, held, device)}

    return validate


def last_progress(config: PretrainConfig, data: UnlabelledData) -> Progress:
    """The progress of the last step, whose masks the final sheet shows."""
    length = build_length(config.optim, len(data.train))
    return Progress(length.steps, length.steps, length.epochs - 1, length.epochs, config.run.seed)


def export(folder: RunFolder, task: PretrainingTask, config: PretrainConfig, final: Mapping[str, float]) -> None:
    """The encoder (timm's keys) to export/, the whole autoencoder to export_mae/."""
    norm = task.mae.input_norm  # it belongs to the autoencoder; the bare encoder's config names it
    encoder = {
        "kind": "encoder",
        "model": config.model.removeprefix("mae_"),
        "kwargs": {"img_size": config.img_size},
        "mean": float(norm.mean),
        "std": float(norm.std),
    }
    mae = {"kind": "mae", "model": config.model, "kwargs": mae_arguments(config)}
    export_model(folder, task.mae.encoder, {**encoder, "held_out": dict(final)}, config)
    export_model(folder, task.mae, {**mae, "held_out": dict(final)}, config, name="mae")


def last_sheet(task: PretrainingTask, data: UnlabelledData, config: PretrainConfig) -> str:
    """Reconstructions of held-out frames under the masks of the last step, as an HTML picture."""
    if not len(data.held):
        return "<p>No frame was held out.</p>"
    few = load_maps(data.held, config.img_size, 6)
    return html_figure(reconstruction_sheet(task, few, last_progress(config, data), device_of(task), rows=6))
