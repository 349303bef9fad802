"""`vasomim pretrain`: VasoMIM or another pre-training method on unlabelled angiograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from vasomim.build import build_length, build_pretraining, build_settings, build_views
from vasomim.commands.console import print_result, say
from vasomim.commands.training import (
    UnlabelledData,
    device_of,
    export_model,
    open_unlabelled,
    train,
    training_run,
)
from vasomim.config import PretrainConfig
from vasomim.data.frames import write_png
from vasomim.engine.report import keep_picture, write_report
from vasomim.engine.run_folder import RunFolder
from vasomim.engine.validation import inspection_sheet, load_maps, pretraining_losses, probe_score
from vasomim.models.grey_as_color import GreyAsColor, fold_channels
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import own_arguments
from vasomim.models.sizes import bare_name
from vasomim.models.weights import load_weights
from vasomim.tasks.interface import Pretrains, Reconstructs
from vasomim.types import Progress
from vasomim.viz.images import RGB

PROBE_FIT, PROBE_TEST = 300, 200
"""Frames of the vessel probe: fitted on training frames, scored on held-out ones."""


def run(config: PretrainConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Train, validate with losses and a vessel probe, export the encoder, write OUT/report.html."""
    torch.manual_seed(config.run.seed)
    with training_run(config, "pretrain") as (fabric, folder):
        data = open_unlabelled(config, fabric, folder)
        task = build_pretraining(config, data.statistics, lambda model: start_from(model, config))
        assert isinstance(task, Pretrains)
        validate = validator(task, data, config, folder)
        result = train(fabric, task, data.train, config, folder, validate, build_views(config))
        if not folder.writes:
            return 0
        final = result.validation
        export(folder, task, config, final)
        keep_picture(folder.path, last_sheet(task, data, config))
        write_report(folder.path)
    print_result({"out": str(config.out), "step": result.step, **final}, json=json)
    return 0


def start_from(model: nn.Module, config: PretrainConfig) -> None:
    """Load the weights to start from, if any, and say what matched."""
    if config.init is not None:
        say(load_weights(model, config.init).table())


def validator(
    task: Pretrains, data: UnlabelledData, config: PretrainConfig, folder: RunFolder
) -> Callable[[nn.Module, Progress], Mapping[str, float]] | None:
    """Losses, vessel probe and a picture sheet of the held-out frames; none where no frame is held out."""
    if not len(data.held):
        return None
    fit = load_maps(data.train, config.img_size, PROBE_FIT)
    held = load_maps(data.held, config.img_size, PROBE_TEST)

    def validate(module: nn.Module, progress: Progress) -> Mapping[str, float]:
        device = device_of(module)
        if folder.writes:
            picture = inspection_sheet(task, held, progress, device)
            write_png(folder.path / "sheets" / f"step_{progress.step:08d}.png", picture)
        losses = pretraining_losses(task, held, device) if isinstance(task, Reconstructs) else {}
        return {**losses, "probe_r2": probe_score(task, fit, held, device)}

    return validate


def last_progress(config: PretrainConfig, data: UnlabelledData) -> Progress:
    """The progress of the last step, whose masks the final sheet shows."""
    length = build_length(config.optim, len(data.train))
    return build_settings(config.optim, config.run, length).progress(length.steps)


def export(folder: RunFolder, task: Pretrains, config: PretrainConfig, final: Mapping[str, float]) -> None:
    """The encoder (timm's keys) to export/, the whole autoencoder (of one channel) to export_mae/."""
    model = task.model
    norm = model.input_norm  # it belongs to what surrounds the encoder; the bare encoder's config names it
    bare = fold_channels(model.encoder, norm) if isinstance(norm, GreyAsColor) else model.encoder
    facts = {"method": config.method, "held_out": dict(final)}
    encoder = {
        "kind": "encoder",
        "model": bare_name(config.model),
        # Its own measures, not those of the settings: a method of one's own may train an encoder of another size.
        "kwargs": own_arguments(config.model, bare),
        "mean": float(norm.mean),
        "std": float(norm.std),
    }
    export_model(folder, bare, {**encoder, **facts}, config)
    if type(model) is MaskedAutoencoder and bare is model.encoder:  # a class derived from it has no name of ours
        mae = {"kind": "mae", "model": config.model, "kwargs": own_arguments(config.model, model)}
        export_model(folder, model, {**mae, **facts}, config, name="mae")


def last_sheet(task: Pretrains, data: UnlabelledData, config: PretrainConfig) -> RGB | None:
    """What the method makes of held-out frames at the last step; None where there is none."""
    if not len(data.held):
        return None
    few = load_maps(data.held, config.img_size, 6)
    device = task.model.input_norm.mean.device
    return inspection_sheet(task, few, last_progress(config, data), device, rows=6)
