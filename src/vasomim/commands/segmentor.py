"""`vasomim segmentor`: train the vessel segmentor S on extracted anatomy (method: step 4)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from vasomim.build import build_segmentor
from vasomim.commands.console import print_result
from vasomim.commands.training import device_of, export_model, open_unlabelled, train, training_run
from vasomim.config import SegmentorConfig
from vasomim.engine.report import keep_picture, write_report
from vasomim.engine.validation import Maps, load_maps, segmentation_scores
from vasomim.types import Progress
from vasomim.viz.images import RGB, contact_sheet, overlay, to_rgb

VALIDATION_FRAMES = 100
SHEET_ROWS = 6


def run(config: SegmentorConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Extract where needed, train, export to OUT/export, write OUT/report.html."""
    torch.manual_seed(config.run.seed)
    with training_run(config, "segmentor") as (fabric, folder):
        data = open_unlabelled(config, fabric, folder)
        task = build_segmentor(config, data.statistics)
        held = load_maps(data.held, config.img_size, VALIDATION_FRAMES)

        def validate(module: nn.Module, progress: Progress) -> Mapping[str, float]:  # noqa: ARG001
            return scores(task.model, held)

        result = train(fabric, task, data.train, config, folder, validate if len(held) else None)
        if not folder.writes:
            return 0
        final = result.validation
        export_model(
            folder,
            task.model,
            {
                "kind": "segmentor",
                "model": config.model,
                "kwargs": {},
                "inference": {"mode": "resize", "size": config.img_size},
                "held_out": final,
                "extraction": data.extraction,
            },
            config,
        )
        keep_picture(folder.path, sheet(task.model, held))
        write_report(folder.path)
    print_result({"out": str(config.out), "step": result.step, **final}, json=json)
    return 0


def scores(model: nn.Module, maps: Maps) -> Mapping[str, float]:
    """Agreement with the extracted anatomy of held-out frames; the target is no ground truth."""
    frames = [image for batch in maps.batches(torch.device("cpu")) for image in batch["image"]]
    return segmentation_scores(model, frames, list(maps.vessels), device_of(model))


@torch.no_grad()
def sheet(model: nn.Module, maps: Maps) -> RGB | None:
    """Frame, extracted anatomy and S(frame) of some held-out frames; None where there is none."""
    if not len(maps):
        return None
    batch = next(maps.batches(device_of(model)))
    seen = model(batch["image"])[:, 0].sigmoid().cpu().numpy()
    cells = []
    for row in range(min(SHEET_ROWS, len(seen))):
        frame = batch["image"][row, 0].cpu().numpy()
        cells.append([to_rgb(frame), overlay(frame, maps.vessels[row]), to_rgb(seen[row])])
    return contact_sheet(cells, columns=["frame", "extracted anatomy", "S(frame)"])
