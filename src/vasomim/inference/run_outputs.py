"""What is derived from a run and its masks: segmentation, overlay run, films, report.

Each product takes frames and masks from their files, one by one, and knows nothing of the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vasomim.data.frames import read_mask
from vasomim.files import write_text, write_whole
from vasomim.inference.derived import Software, Source
from vasomim.inference.dicom_seg import BitPacker, segmentation
from vasomim.inference.report_page import render_report
from vasomim.inference.secondary_capture import DEFAULT_STEP_MS, capture, encode_jpeg
from vasomim.inference.vessel_report import RunMeasures, run_report
from vasomim.viz.images import RGB, overlay
from vasomim.viz.movies import Indexed, encode_gif, fit_frame, indexed_overlay, mp4_writer

Movie = Literal["gif", "mp4", "both", "none"]
MaskPaths = Mapping[int, Path]
"""The mask of each frame that was segmented, by its index in the run, ascending."""
SEGMENTATION, CAPTURE, REPORT, PAGE = "segmentation.dcm", "overlay.dcm", "report.json", "report.html"
GIF, MP4 = "overlay.gif", "overlay.mp4"
_GIF_SIDE = 512
"""Longest side of a GIF in pixels: larger ones are too large to pass on."""
_FILMS: dict[Movie, list[str]] = {"gif": [GIF], "mp4": [MP4], "both": [GIF, MP4], "none": []}


@dataclass(frozen=True, kw_only=True)
class RunParts:
    """What is written for a run beside its masks, report.json and report.html."""

    dicom: bool = True
    movie: Movie = "gif"

    def files(self, num_frames: int) -> list[str]:
        """Names of the files; a single frame makes no film."""
        names = [REPORT, PAGE, *([SEGMENTATION, CAPTURE] if self.dicom else [])]
        return names + (_FILMS[self.movie] if num_frames > 1 else [])


def write_outputs(
    folder: Path, masks: MaskPaths, source: Source, software: Software, parts: RunParts, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write everything of a run but its masks; returns the report.

    Args:
        folder: where to write.
        masks: of the frames of `source`.
        source: the run.
        software: what made the masks.
        parts: what to write.
        about: what the report says beside measures: `run`, `weights`, `settings`, `warnings`.

    Raises:
        DataError: a frame is damaged, or DICOM objects are wanted of a run without UIDs to refer to.
        VasomimError: a file cannot be written.
    """
    files = parts.files(len(masks))
    folder.mkdir(parents=True, exist_ok=True)
    if SEGMENTATION in files:
        write_whole(folder / SEGMENTATION, segmentation(_packed(masks), source, software))
    if CAPTURE in files:
        jpegs = [encode_jpeg(picture) for picture in _overlays(source, masks)]
        write_whole(folder / CAPTURE, capture(jpegs, source, software))
    if GIF in files:
        write_whole(folder / GIF, encode_gif(_small_overlays(source, masks), shown_for(source)))
    if MP4 in files:
        _write_mp4(folder / MP4, source, masks)
    measures = _measured(masks)
    report = run_report(source.run.facts, source.indices, measures, about)
    best = source.indices[measures.best]
    film = GIF if GIF in files else None
    write_text(folder / PAGE, render_report(report, source.run.frame(best), read_mask(masks[best]), film))
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def shown_for(source: Source) -> list[float]:
    """How long each frame is shown, in milliseconds; the last one as long as the one before."""
    if source.times_ms is None:
        return [DEFAULT_STEP_MS] * len(source.indices)
    steps = np.diff(source.times_ms)
    return [float(step) for step in (*steps, steps[-1])]


def _packed(masks: MaskPaths) -> BitPacker:
    packer = BitPacker()
    for file in masks.values():
        packer.add(read_mask(file))
    return packer


def _measured(masks: MaskPaths) -> RunMeasures:
    measures = RunMeasures()
    for file in masks.values():
        measures.add(read_mask(file))
    return measures


def _overlays(source: Source, masks: MaskPaths) -> Iterator[RGB]:
    for index, file in masks.items():
        yield overlay(source.run.frame(index), read_mask(file))


def _small_overlays(source: Source, masks: MaskPaths) -> Iterator[Indexed]:
    """The frames of a GIF."""
    for index, file in masks.items():
        yield indexed_overlay(*fit_frame(source.run.frame(index), read_mask(file), _GIF_SIDE))


def _write_mp4(path: Path, source: Source, masks: MaskPaths) -> None:
    with mp4_writer(path, source.shape, 1000 / float(np.mean(shown_for(source)))) as append:
        for picture in _overlays(source, masks):
            append(picture)
