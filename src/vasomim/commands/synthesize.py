"""`vasomim synthesize`: synthetic angiograms with exact masks."""

from __future__ import annotations

from vasomim.commands.console import print_result, progress_bar, say
from vasomim.config import SynthesizeConfig
from vasomim.data.synthesis import Series, synthesize_folder


def run(config: SynthesizeConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Write OUT/images/, masks/, centerlines/, scenes/, boxes.csv, metadata.json and preview.png."""
    series = Series(seed=config.seed, size=config.size, cine=config.cine, bits=config.bits, stenoses=config.stenoses)
    with progress_bar("synthesizing", config.num_frames) as step:
        summary = synthesize_folder(config.out, series, config.num_frames, config.workers, step)
    if verbose:
        say(f"look at {summary.preview}")
    print_result(
        {
            "out": str(config.out),
            "made": summary.made,
            "kept": summary.kept,
            "vessel_share": summary.vessel_share,
            "boxes": summary.num_boxes,
        },
        json=json,
    )
    return 0
