"""What is derived from a run and its masks, in one pass over both: segmentation, overlay run, films, report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vasomim.data.dicom.run import DicomRun
from vasomim.data.frames import read_mask
from vasomim.engine.files import write_bytes, write_text
from vasomim.inference.derived import Software, Source
from vasomim.inference.dicom_seg import BitPacker, segmentation
from vasomim.inference.report_page import render_report
from vasomim.inference.secondary_capture import DEFAULT_STEP_MS, capture, encode_jpeg
from vasomim.inference.vessel_report import RunMeasures, run_report
from vasomim.types import BoolImage, FloatImage
from vasomim.viz.images import overlay
from vasomim.viz.movies import Indexed, encode_gif, fit_frame, indexed_overlay, mp4_writer

Movie = Literal["gif", "mp4", "both", "none"]
SEGMENTATION, CAPTURE, REPORT, PAGE = "segmentation.dcm", "overlay.dcm", "report.json", "report.html"
GIF, MP4 = "overlay.gif", "overlay.mp4"
GIF_SIDE = 512
"""Longest side of a GIF in pixels: larger ones are too large to pass on."""


@dataclass(frozen=True, kw_only=True)
class RunParts:
    """What is written for a run beside its masks, report.json and report.html."""

    dicom: bool = True
    movie: Movie = "gif"

    def files(self, num_frames: int) -> list[str]:
        """Names of the files; a single frame makes no film."""
        names = [REPORT, PAGE, *([SEGMENTATION, CAPTURE] if self.dicom else [])]
        films = {"gif": [GIF], "mp4": [MP4], "both": [GIF, MP4], "none": []}[self.movie]
        return names + (films if num_frames > 1 else [])


def mask_name(index: int) -> str:
    """File name of a frame's pictures, counted from 1 as DICOM does."""
    return f"{index + 1:04d}.png"


def step_times(run: DicomRun) -> list[float]:
    """How long each frame is shown, in milliseconds; the last one as long as the one before."""
    times = run.facts.frame_times_ms
    if times is None or len(times) < 2:
        return [DEFAULT_STEP_MS] * len(run)
    steps = np.diff(times)
    return [float(step) for step in (*steps, steps[-1])]


@dataclass
class _Gathered:
    """What one pass over frames and masks leaves."""

    packer: BitPacker = field(default_factory=BitPacker)
    measures: RunMeasures = field(default_factory=RunMeasures)
    jpegs: list[bytes] = field(default_factory=list)


def write_outputs(
    folder: Path,
    masks: Path,
    source: Source,
    software: Software,
    parts: RunParts,
    *,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write everything of a run but its masks; returns the report.

    Args:
        folder: where to write.
        masks: folder of the run's masks.
        source: the run.
        software: what made the masks.
        parts: what to write.
        about: what the report says beside measures: `run`, `weights`, `settings`, `warnings`.

    Raises:
        DataError: a frame is damaged, or the run has no UIDs to refer to.
        VasomimError: a file cannot be written.
    """
    run = source.run
    files = parts.files(len(run))
    gathered = _gather(folder, masks, run, files)
    if parts.dicom:
        shape = (run.facts.rows, run.facts.columns)
        write_bytes(folder / SEGMENTATION, segmentation(gathered.packer, shape, source, software))
        write_bytes(folder / CAPTURE, capture(gathered.jpegs, source, software))
    report = run_report(run.facts, gathered.measures, about)
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    best = gathered.measures.best
    picture = run.frame(best), read_mask(masks / mask_name(best))
    write_text(folder / PAGE, render_report(report, *picture, film=GIF if GIF in files else None))
    return report


def _gather(folder: Path, masks: Path, run: DicomRun, files: list[str]) -> _Gathered:
    """Go through the run once: measure, pack, draw, and write the films."""
    gathered, steps = _Gathered(), step_times(run)
    with ExitStack() as stack:
        shape = (run.facts.rows, run.facts.columns)
        film = mp4_writer(folder / MP4, shape, 1000 / float(np.mean(steps)))
        add = stack.enter_context(film if MP4 in files else nullcontext(None))

        def drawn() -> Iterator[Indexed]:
            for image, mask in _pairs(run, masks):
                gathered.packer.add(mask)
                gathered.measures.add(mask)
                picture = overlay(image, mask)
                if CAPTURE in files:
                    gathered.jpegs.append(encode_jpeg(picture))
                if add is not None:
                    add(picture)
                yield indexed_overlay(*fit_frame(image, mask, GIF_SIDE))

        if GIF in files:
            write_bytes(folder / GIF, encode_gif(drawn(), steps))
        else:
            for _ in drawn():
                pass
    return gathered


def _pairs(run: DicomRun, masks: Path) -> Iterator[tuple[FloatImage, BoolImage]]:
    for index in range(len(run)):
        yield run.frame(index), read_mask(masks / mask_name(index))
