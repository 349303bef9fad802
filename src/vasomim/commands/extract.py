"""`vasomim extract`: vessel maps of frames without any label."""

from __future__ import annotations

from vasomim.commands.console import print_result, progress_bar, say, warn
from vasomim.config import ExtractConfig
from vasomim.data.extraction import extract_folder
from vasomim.data.open import open_frames


def run(config: ExtractConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Write OUT/masks/, OUT/vesselness/ where asked, and OUT/preview.png; 1 where a frame could not be used."""
    device = "cpu" if config.device == "cpu" else _resolved(config.device)
    frames = open_frames(config.inputs, config.dicom.frames, subtract=config.dicom.subtract)
    with progress_bar("extracting vessels", len(frames)) as step:
        summary = extract_folder(
            frames.records,
            config.out,
            config.method,
            config.workers,
            config.vesselness,
            progress=lambda: step(1),
            dataset=frames,
            device=device,
            batch_size=config.batch_size,
        )
    for line in summary.failures:
        warn(line)
    if verbose and summary.preview is not None:
        say(f"look at {summary.preview}")
    print_result(
        {
            "out": str(config.out),
            "method": summary.method,
            "extracted": summary.extracted,
            "cached": summary.cached,
            "failed": summary.failed,
        },
        json=json,
    )
    return 1 if summary.failures else 0


def _resolved(device: str) -> str:
    from vasomim.ops.devices import resolve_device  # loads torch, which extraction on a CPU does without

    return str(resolve_device(device))
