"""What is derived from a run and its masks: segmentation, overlay run, films, report; frames are taken one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vasomim.files import write_text, write_whole
from vasomim.inference.derived import Software, Source
from vasomim.inference.dicom_seg import BitPacker, segmentation
from vasomim.inference.report_page import render_report
from vasomim.inference.secondary_capture import DEFAULT_STEP_MS, capture, encode_jpeg
from vasomim.inference.vessel_report import RunMeasures, run_report
from vasomim.types import BoolImage
from vasomim.viz.images import RGB, overlay
from vasomim.viz.movies import Indexed, encode_gif, fit_frame, indexed_overlay, mp4_writer

Movie = Literal["gif", "mp4", "both", "none"]
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


@dataclass
class _Gathered:
    """What one pass over frames and masks leaves."""

    packer: BitPacker = field(default_factory=BitPacker)
    measures: RunMeasures = field(default_factory=RunMeasures)
    jpegs: list[bytes] = field(default_factory=list)


def write_outputs(
    folder: Path,
    mask_of: Callable[[int], BoolImage],
    source: Source,
    software: Software,
    parts: RunParts,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write everything of a run but its masks; returns the report.

    Args:
        folder: where to write.
        mask_of: the mask of a frame, by its index in the run.
        source: the run.
        software: what made the masks.
        parts: what to write.
        about: what the report says beside measures: `run`, `weights`, `settings`, `warnings`.

    Raises:
        DataError: a frame is damaged, or DICOM objects are wanted of a run without UIDs to refer to.
        VasomimError: a file cannot be written.
    """
    files = parts.files(len(source.indices))
    folder.mkdir(parents=True, exist_ok=True)
    gathered = _gather(folder, mask_of, source, files)
    if GIF in files:  # another pass, since a GIF is encoded at once from pictures that are asked for one by one
        write_whole(folder / GIF, encode_gif(_pictures(mask_of, source), shown_for(source)))
    if parts.dicom:
        write_whole(folder / SEGMENTATION, segmentation(gathered.packer, source, software))
        write_whole(folder / CAPTURE, capture(gathered.jpegs, source, software))
    report = run_report(source.run.facts, source.indices, gathered.measures, about)
    best = source.indices[gathered.measures.best]
    page = render_report(report, source.run.frame(best), mask_of(best), film=GIF if GIF in files else None)
    write_text(folder / PAGE, page)
    write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def shown_for(source: Source) -> list[float]:
    """How long each frame is shown, in milliseconds; the last one as long as the one before."""
    if source.times_ms is None:
        return [DEFAULT_STEP_MS] * len(source.indices)
    steps = np.diff(source.times_ms)
    return [float(step) for step in (*steps, steps[-1])]


def _gather(folder: Path, mask_of: Callable[[int], BoolImage], source: Source, files: list[str]) -> _Gathered:
    """Go through the run once: measure, pack, draw, and write the MP4."""
    gathered = _Gathered()
    draws: list[Callable[[RGB], object]] = []
    if CAPTURE in files:
        draws.append(lambda picture: gathered.jpegs.append(encode_jpeg(picture)))
    with ExitStack() as stack:
        if MP4 in files:
            film = mp4_writer(folder / MP4, source.shape, 1000 / float(np.mean(shown_for(source))))
            draws.append(stack.enter_context(film))
        for index in source.indices:
            mask = mask_of(index)
            gathered.packer.add(mask)
            gathered.measures.add(mask)
            if draws:
                picture = overlay(source.run.frame(index), mask)
                for draw in draws:
                    draw(picture)
    return gathered


def _pictures(mask_of: Callable[[int], BoolImage], source: Source) -> Iterator[Indexed]:
    """The frames of a GIF."""
    for index in source.indices:
        yield indexed_overlay(*fit_frame(source.run.frame(index), mask_of(index), _GIF_SIDE))
