"""Folders of synthetic angiograms: made in parallel, frame by frame resumable, in the layout that the readers know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vasomim.data.boxes import TABLE, boxes_table
from vasomim.data.frames import read_frame, read_mask, write_png
from vasomim.data.pool import map_in_processes, num_workers
from vasomim.data.preview import spread, write_preview
from vasomim.errors import DataError, Interrupted, MisuseError
from vasomim.files import clear_leftovers, contents, write_text
from vasomim.synth.angiogram import Angiogram, generate
from vasomim.synth.cine import iterate_cine
from vasomim.synth.scene import RECIPE_VERSION
from vasomim.types import BoolImage, FloatImage

MARKER = "metadata.json"
"""Says what a folder holds, so that two series never mix in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What defines the frames of a folder; frame k depends on this and on k alone."""

    seed: int
    size: int
    cine: int = 0
    """Frames of a cine run; 0 for single frames."""
    bits: Literal[8, 16] = 8
    stenoses: bool = False

    def name(self, frame: int) -> str:
        """Name of a frame's files without suffix."""
        if self.cine == 0:
            return f"frame_{frame:05d}"
        return f"run_{frame // self.cine:04d}_{frame % self.cine:03d}"

    def patient(self, frame: int) -> str:
        """Frames of one heart share a patient, so that splits keep them together."""
        return self.name(frame) if self.cine == 0 else f"run_{frame // self.cine:04d}"


@dataclass(frozen=True, slots=True)
class SynthesisSummary:
    """What became of the frames asked for."""

    made: int
    kept: int
    """Frames that an earlier call had made."""
    vessel_share: float
    """Mean share of vessel pixels."""
    num_boxes: int
    preview: Path


def synthesize_folder(
    out: Path, series: Series, num_frames: int, workers: int = 0, progress: Callable[[int], object] | None = None
) -> SynthesisSummary:
    """Write images/, masks/, centerlines/ and scenes/ below `out`, one file a frame, boxes.csv and preview.png.

    Every file is whole or absent and a frame's image is written last, so an interrupted call goes on where it
    stopped; a larger `num_frames` adds frames to a folder. The bytes do not depend on the number of workers.

    Args:
        out: folder, new or made by an earlier call for the same series.
        series: what the frames are made from.
        num_frames: frames wanted; the last run of a cine series may be cut short.
        workers: processes; 0 takes one a core.
        progress: called with the number of frames that are new or found.

    Raises:
        MisuseError: `out` holds something else.
        WriteError: nothing can be written to `out`.
        DataError: a worker process died.
        Interrupted: stopped by Ctrl-C; what is written stays.
    """
    _claim(out, series)
    made = kept = 0
    jobs = range(0, num_frames, max(series.cine, 1))
    make = partial(_make, out, series, num_frames)
    try:
        for fresh, old in map_in_processes(make, jobs, num_workers(workers, len(jobs))):
            made, kept = made + fresh, kept + old
            if progress is not None:
                progress(fresh + old)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"stopped after {made + kept} of {num_frames} frames; the same command goes on from there"
        ) from stop
    return _finish(out, series, num_frames, made, kept)


def _claim(out: Path, series: Series) -> None:
    """Mark `out` as ours, or refuse it."""
    if out.exists() and not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder")
    wanted = {"recipe": RECIPE_VERSION, **asdict(series)}
    try:
        held = json.loads((out / MARKER).read_text()).get("series")
    except FileNotFoundError:
        held = None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise MisuseError(f"cannot read {out / MARKER} ({error}); delete {out} or choose another folder") from error
    if held is not None and held != wanted:
        other = ", ".join(f"{key}={held.get(key)}" for key in wanted if held.get(key) != wanted[key])
        raise MisuseError(f"{out} holds another series ({other}); choose another folder")
    if held is None:
        if contents(out):
            raise MisuseError(f"{out} is not empty and holds no synthetic series; choose another folder")
        write_text(out / MARKER, json.dumps({"series": wanted}, indent=1))
    clear_leftovers(out)


def _make(out: Path, series: Series, num_frames: int, first: int) -> tuple[int, int]:
    """Make the frame `first`, or the run that starts with it, unless it is there: (frames made, frames found)."""
    wanted = range(first, min(first + max(series.cine, 1), num_frames))
    missing = [frame for frame in wanted if not (out / "images" / f"{series.name(frame)}.png").is_file()]
    if not missing:
        return 0, len(wanted)
    for frame, angiogram in zip(wanted, _frames(series, first), strict=False):
        if frame in missing:
            _write(out, series.name(frame), angiogram)
    return len(missing), len(wanted) - len(missing)


def _frames(series: Series, first: int) -> Iterator[Angiogram]:
    if series.cine == 0:
        yield generate(series.seed, series.size, index=first, stenoses=series.stenoses, bits=series.bits)
        return
    run = first // series.cine
    yield from iterate_cine(
        series.seed, series.size, series.cine, index=run, stenoses=series.stenoses, bits=series.bits
    )


def _write(out: Path, name: str, angiogram: Angiogram) -> None:
    """Write a frame; the image goes last: where it is, everything is."""
    write_png(out / "masks" / f"{name}.png", angiogram.mask)
    write_png(out / "centerlines" / f"{name}.png", angiogram.centerline)
    note = {
        "vessel_share": float(angiogram.mask.mean()),
        "boxes": [[box.x0, box.y0, box.x1, box.y1] for box in angiogram.boxes],
        "scene": asdict(angiogram.scene),
    }
    write_text(out / "scenes" / f"{name}.json", json.dumps(note), durable=False)
    write_png(out / "images" / f"{name}.png", angiogram.image)


def _finish(out: Path, series: Series, num_frames: int, made: int, kept: int) -> SynthesisSummary:
    """Write boxes.csv and preview.png from what every frame left; all frames of the folder are listed."""
    frames = list(_present(out, series))
    notes: list[dict[str, Any]] = [_note(out, series.name(frame)) for frame in frames]
    rows = [
        (f"{series.name(frame)}.png", series.patient(frame), note["boxes"])
        for frame, note in zip(frames, notes, strict=True)
    ]
    write_text(out / TABLE, boxes_table(rows))
    asked = notes[:num_frames]
    preview = write_preview(out / "preview.png", (_pair(out, series.name(k)) for k in spread(frames[:num_frames])))
    assert preview is not None  # there is a frame at least
    return SynthesisSummary(
        made=made,
        kept=kept,
        vessel_share=sum(note["vessel_share"] for note in asked) / len(asked),
        num_boxes=sum(len(note["boxes"]) for note in asked),
        preview=preview,
    )


def _present(out: Path, series: Series) -> Iterator[int]:
    """Numbers of the frames in the folder, without a gap from 0."""
    frame = 0
    while (out / "images" / f"{series.name(frame)}.png").is_file():
        yield frame
        frame += 1


def _note(out: Path, name: str) -> dict[str, Any]:
    path = out / "scenes" / f"{name}.json"
    try:
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {"vessel_share": float(note["vessel_share"]), "boxes": list(note["boxes"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        image = out / "images" / f"{name}.png"
        raise DataError(f"cannot read {path} ({error}); delete {image} and run the same command again") from error


def _pair(out: Path, name: str) -> tuple[FloatImage, BoolImage]:
    return read_frame(out / "images" / f"{name}.png"), read_mask(out / "masks" / f"{name}.png")
