"""`vasomim prepare`: frames packed into a few large files, for fast reading or for transport; a pack checked."""

from __future__ import annotations

from pathlib import Path

from vasomim.commands.console import print_result, progress_bar, warn
from vasomim.config import PrepareConfig
from vasomim.data.codecs import BYTE_CODECS
from vasomim.data.extraction import VesselStore
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.packed import PackSettings, common_settings, read_head
from vasomim.data.packing import PackSummary, pack_frames, verify_pack
from vasomim.data.samples import FrameDataset, with_vessels
from vasomim.vessels import METHOD_VERSION


def run(config: PrepareConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Write the pack OUT, or check those named; 1 where a frame could not be used or a pack is damaged."""
    return _verify(config, json=json) if config.verify else _pack(config, json=json)


def _verify(config: PrepareConfig, *, json: bool) -> int:
    lines = []
    for folder in config.inputs:
        with progress_bar(f"checking {folder.name}", len(read_head(folder).parts), unit="part") as step:
            lines += verify_pack(folder, config.workers, progress=lambda: step(1))
    for line in lines:
        warn(line)
    print_result({"packs": len(config.inputs), "damages": len(lines)}, json=json)
    return 1 if lines else 0


def _pack(config: PrepareConfig, *, json: bool) -> int:
    held = common_settings(config.inputs)
    dataset, settings = _dataset(config, held), _settings(config, held)
    extraction = None if config.extraction == "none" else config.extraction
    with progress_bar("packing frames", len(dataset)) as step:
        summary = pack_frames(dataset, config.out, settings, extraction, config.workers, step)
    for line in summary.left_out:
        warn(line)
    print_result(_facts(config.out, settings, summary), json=json)
    return 1 if summary.left_out else 0


def _dataset(config: PrepareConfig, held: PackSettings) -> FrameDataset:
    if config.labels or held.labels:
        dataset = open_labelled(config.inputs, held.labels or config.rasteriser)
    else:
        dataset = open_frames(config.inputs)
    return dataset if config.vessels is None else with_vessels(dataset, VesselStore(config.vessels))


def _settings(config: PrepareConfig, held: PackSettings) -> PackSettings:
    vessels = held.vessels
    if config.vessels is not None:
        vessels = VesselStore(config.vessels).description
    elif config.extraction != "none":
        vessels = f"{config.extraction} {METHOD_VERSION}"
    return PackSettings(
        size=config.size,
        bits=8 if config.codec in BYTE_CODECS else config.bits,
        codec=config.codec,
        quality=config.quality,
        vessels=vessels,
        labels=held.labels or (config.rasteriser if config.labels else None),
    )


def _facts(out: Path, settings: PackSettings, summary: PackSummary) -> dict[str, object]:
    return {
        "out": str(out),
        "packed": summary.packed,
        "kept": summary.kept,
        "left_out": len(summary.left_out),
        "holds": " ".join(settings.planes()),
        "mib": round(summary.num_bytes / 2**20, 1),
        "fingerprint": summary.fingerprint,
    }
