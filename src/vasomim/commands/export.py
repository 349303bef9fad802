"""`vasomim export`: a trained segmenter as a network for ONNX Runtime or OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vasomim.commands.console import print_result, say, warn
from vasomim.config import ExportConfig
from vasomim.data.open import open_frames
from vasomim.data.samples import FrameDataset
from vasomim.errors import MisuseError
from vasomim.files import refuse_filled
from vasomim.inference.backends import Images, require_modules
from vasomim.inference.predictor import weights_name
from vasomim.models.shipped import beside_weights, shipped_weights, weights_path
from vasomim.models.trained_on import read_trained_on

COMPARED = 4
"""Frames that the exported network is compared with torch on."""
WORTH_A_WARNING = 0.9
"""Dice between the masks of the 8-bit network and of torch below which people are warned."""


def run(config: ExportConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Write OUT with the network, its config and card; print how it agrees with torch."""
    path, output, name = _weights(config)
    packages = ("onnx", "onnxscript", "onnxruntime", *(["openvino"] if config.format == "openvino" else []))
    require_modules(*packages, purpose=f"exporting to {config.format}")
    from vasomim.export.folder import load_segmenter, write_export  # needs what was just asked for

    refuse_filled(config.out)
    network, described = load_segmenter(path, output)
    described["name"] = f"{name} ({config.format}{', int8' if config.int8 else ''})"
    frames = list(_frames(config, described.get("inference", {})))
    calibration = frames[COMPARED:] if config.int8 else []
    if verbose:
        say(f"exporting {described['model']} for {config.format}, comparing on {len(frames[:COMPARED])} frames")
    facts = write_export(
        network,
        described,
        _card(path),
        config.out,
        config.format,
        frames[:COMPARED],
        calibration,
        read_trained_on(path),
    )
    agreement = facts["agreement"]
    if config.int8 and agreement["mask_dice"] < WORTH_A_WARNING:
        warn(
            f"masks of the exported network agree with torch's by Dice {agreement['mask_dice']:.3f} only; give "
            "--calibration frames like those it will see, or leave --int8 out"
        )
    size = sum(file.stat().st_size for file in config.out.iterdir())
    result = {"out": str(config.out), "format": config.format, "int8": config.int8, "bytes": size, **agreement}
    print_result(result, json=json)
    return 0


def _weights(config: ExportConfig) -> tuple[Path, str | None, str]:
    """Where the weights are, which of their outputs is meant, and what they are called."""
    if len(config.inputs) != 1:
        raise MisuseError(f"got {len(config.inputs)} INPUTs, need one: a run folder, its export folder or weight file")
    if not config.int8:
        if config.calibration:
            warn("without --int8 nothing is calibrated: --calibration only gives the frames to compare on")
        if config.calibration_frames != ExportConfig().calibration_frames:
            warn("--calibration-frames has no effect without --int8")
    given = config.inputs[0]
    path, shipped = weights_path(given), shipped_weights(given)
    if shipped is not None:
        return path, config.output or shipped.output, given
    return path, config.output, weights_name(path)


def _frames(config: ExportConfig, inference: Mapping[str, Any]) -> Iterator[Images]:
    """Frames as the network sees them: first those to compare on, then those to take ranges from."""
    from vasomim.export.frames import as_seen, spread, synthetic_frames

    wanted = COMPARED + (config.calibration_frames if config.int8 else 0)
    if not config.calibration:
        yield from (as_seen(frame, inference) for frame in synthetic_frames(wanted))
        return
    dataset = open_frames(config.calibration)
    chosen = spread(len(dataset), wanted)
    if len(chosen) <= COMPARED and config.int8:
        raise MisuseError(f"got {len(chosen)} --calibration frames, need more than {COMPARED}: some are to compare on")
    for index in _compared_first(chosen):
        yield as_seen(_image(dataset, index), inference)


def _compared_first(chosen: list[int]) -> list[int]:
    """The same indices, led by some that are spread over all."""
    first = [chosen[int(k)] for k in np.linspace(0, len(chosen) - 1, min(COMPARED, len(chosen))).round()]
    return first + [index for index in chosen if index not in first]


def _image(dataset: FrameDataset, index: int) -> Any:
    return dataset[index].image


def _card(weights: Path) -> str:
    """The card beside the weights, or a line that stands in for it."""
    found = beside_weights(weights, "README.md")
    return found.read_text(encoding="utf-8") if found else "Research use, not a medical device.\n"
