"""DICOM runs to folders of results, one run after the other: each appears whole or not at all, and is not done twice."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasomim.data.dicom.parsing import quiet
from vasomim.data.dicom.run import DicomRun, open_run
from vasomim.errors import DataError, Interrupted, MisuseError, VasomimError
from vasomim.inference.derived import Software, Source
from vasomim.inference.files import hash_file, ordered
from vasomim.inference.identity import gives_away
from vasomim.inference.predictor import Predictor
from vasomim.inference.run_outputs import RunParts, mask_name, write_outputs
from vasomim.inference.temporal import RunFrame, smooth
from vasomim.inference.writers import PredictionFolder, write_pictures
from vasomim.types import FloatImage, Record

_UNFINISHED = ".unfinished"
"""Where a run is written until it is whole; what a killed call left there is deleted."""
_RUNS = "runs"
_WRITERS = 3


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are predicted and what is written of them."""

    parts: RunParts = field(default_factory=RunParts)
    smoothing: int = 0
    """Frames on each side that a probability is averaged over."""
    keep_identity: bool = False
    """Name results after their files, and copy patient and study into derived objects."""

    def settings(self) -> dict[str, Any]:
        """What the results depend on."""
        return {"smoothing": self.smoothing, "keep_identity": self.keep_identity}


@dataclass
class RunSummary:
    """How a call ended."""

    runs: int = 0
    """Asked for."""
    predicted: int = 0
    skipped: int = 0
    """Done by an earlier call."""
    frames: int = 0
    """Frames of the runs predicted by this call."""
    failures: list[str] = field(default_factory=list)
    """One line a run that could not be used."""


def neutral_name(number: int) -> str:
    """The name of a run whose file's name must not be passed on."""
    return f"run_{number:04d}"


def predict_runs(
    predictor: Predictor,
    records: Sequence[Record],
    folder: PredictionFolder,
    options: RunOptions,
    *,
    taken: Collection[str] = (),
    progress: Callable[[int], object] = lambda _: None,
    warn: Callable[[str], object] = lambda _: None,
) -> RunSummary:
    """Write OUT/masks/<run>/0001.png and so on, and OUT/runs/<run>/ with DICOM objects, film and report.

    A run whose file, weights and settings are unchanged since an earlier call is skipped. A run that cannot be used is
    reported and the others are done. A few batches of frames are held at a time; a GIF holds a quarter of a MiB a frame.

    Args:
        predictor: what segments.
        records: the files; their ids name the results unless they give the patient away.
        folder: from `open_folder`, with `options.settings()` among its settings.
        options: how, and what is written.
        taken: ids of other frames in the same folder.
        progress: called with numbers of frames that are finished, skipped or lost.
        warn: called with one line for each run that cannot be used or needs attention.

    Raises:
        VasomimError: nothing more can be written, or memory ran out; what is done stays.
        Interrupted: stopped by Ctrl-C; runs that are done stay.
    """
    session = _Session(predictor, folder, options, progress, warn)
    names = [*(record.id for record in records), *taken]
    summary = RunSummary(runs=len(records))
    try:
        for position, record in enumerate(records, 1):
            try:
                session.do(record, position, names, summary)
            except (DataError, MisuseError) as error:
                hidden = f" (file {position} of {len(records)} in order of names; --keep-identity shows its path)"
                line = f"{error}{'' if options.keep_identity or len(records) == 1 else hidden}"
                summary.failures.append(line)
                folder.note_failure(neutral_name(position), line)
                warn(line)
    except KeyboardInterrupt as stop:
        done = summary.predicted + summary.skipped
        raise Interrupted(f"stopped after {done} of {len(records)} runs; the same command goes on from there") from stop
    finally:
        shutil.rmtree(folder.path / _UNFINISHED, ignore_errors=True)
        with contextlib.suppress(VasomimError):  # the error that brought us here, if any, says more
            folder.save()
    return summary


class _Session:
    """What all runs of a call share."""

    def __init__(
        self,
        predictor: Predictor,
        folder: PredictionFolder,
        options: RunOptions,
        progress: Callable[[int], object],
        warn: Callable[[str], object],
    ) -> None:
        self.predictor, self.folder, self.options = predictor, folder, options
        self.progress, self.warn = progress, warn
        self.made_by = {"weights": folder.identity["weights"], "settings": folder.identity["settings"]}
        self.software = Software(
            weights=predictor.name,
            fingerprint=folder.identity["weights"]["hash"],
            settings=", ".join(f"{name} {value}" for name, value in folder.identity["settings"].items()),
        )
        self.written = datetime.datetime.now() if options.keep_identity else None

    def do(self, record: Record, position: int, names: Sequence[str], summary: RunSummary) -> None:
        """Predict one run, or find it done.

        Raises:
            DataError: it cannot be used.
        """
        label = str(record.path) if self.options.keep_identity else neutral_name(position)
        if not record.path.is_file():
            raise DataError(f"{label} is gone; check that it is still there")
        source = hash_file(record.path)
        run = open_run(record.path, label)
        name = self._name(record.id, position, source, run, names)
        run.name = label if self.options.keep_identity else name
        if self._is_done(name, source, len(run)):
            summary.skipped += 1
            self.progress(len(run))
            return
        began = time.perf_counter()
        report = self._write(name, run)
        summary.predicted += 1
        summary.frames += len(run)
        self.folder.note_run(
            name,
            {
                "frames": len(run),
                "height": run.facts.rows,
                "width": run.facts.columns,
                "vessel_share": report["summary"]["mean_vessel_share"],
                "best_frame": report["best_frame"],
                "seconds": round(time.perf_counter() - began, 2),
                "source": source,
            },
        )

    def _name(self, name: str, position: int, source: str, run: DicomRun, names: Sequence[str]) -> str:
        """The file's own name, or a neutral one where that gives the patient away or cannot be a folder beside others.

        A neutral name stays with the file's content when a call is repeated with more files.
        """
        is_free = names.count(name) == 1 and not any(other.startswith(f"{name}/") for other in names)
        with quiet():
            shown = self.options.keep_identity or not gives_away(name, run.dataset)
        if is_free and shown:
            return name
        known = [used for used, entry in self.folder.runs.items() if entry["source"] == source and used not in names]
        number = position
        while not known and neutral_name(number) in {*self.folder.runs, *names}:
            number += 1
        return known[0] if known else neutral_name(number)

    def _is_done(self, name: str, source: str, num_frames: int) -> bool:
        """Whether all that is asked for exists, made from a file of the same content."""
        entry = self.folder.runs.get(name)
        if entry is None or entry["source"] != source:
            return False
        root = self.folder.path
        pictures = [root / kind / name / mask_name(k) for kind in self.folder.parts.kinds for k in range(num_frames)]
        files = [root / _RUNS / name / file for file in self.options.parts.files(num_frames)]
        return all(file.is_file() for file in [*pictures, *files])

    def _write(self, name: str, run: DicomRun) -> dict[str, Any]:
        """Write all of a run aside, then move it into place; the report."""
        stage = self.folder.path / _UNFINISHED
        shutil.rmtree(stage, ignore_errors=True)
        blank = [frame.index + 1 for frame in self._predict(run, stage) if frame.is_blank]
        warnings = [f"frame(s) {', '.join(map(str, blank))}: all pixels are equal, nothing can be seen"] if blank else []
        for line in warnings:
            self.warn(f"{run.name}: {line}")
        source = Source(run=run, keep_identity=self.options.keep_identity, written=self.written)
        report = write_outputs(
            stage / _RUNS,
            stage / "masks",
            source,
            self.software,
            self.options.parts,
            about={"run": name, **self.made_by, "warnings": warnings},
        )
        self._move(stage, name)
        return report

    def _predict(self, run: DicomRun, stage: Path) -> Iterator[RunFrame]:
        """Every frame once it is predicted, smoothed and written; decoded ahead and written behind in threads."""

        def write(frame: RunFrame) -> RunFrame:
            name = Path(mask_name(frame.index)).stem
            write_pictures(stage, name, frame.image, frame.prediction, self.folder.parts)
            return frame

        ahead = 2 * self.predictor.batch_size
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_WRITERS) as writers:
            images = ordered(reader, run.frame, range(len(run)), ahead)
            frames = smooth(_predicted(self.predictor, images), len(run), self.options.smoothing)
            for frame in ordered(writers, write, frames, ahead):
                self.progress(1)
                yield frame

    def _move(self, stage: Path, name: str) -> None:
        for kind in (*self.folder.parts.kinds, _RUNS):
            target = self.folder.path / kind / name
            shutil.rmtree(target, ignore_errors=True)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                (stage / kind).rename(target)
            except OSError as error:
                raise VasomimError(f"cannot write {target}: {error.strerror}; choose another folder") from error


def _predicted(predictor: Predictor, images: Iterator[FloatImage]) -> Iterator[RunFrame]:
    """Frames with their predictions, computed in batches."""
    waiting: list[FloatImage] = []
    index = 0
    for image in images:
        waiting.append(image)
        if len(waiting) == predictor.batch_size:
            yield from _batch(predictor, waiting, index)
            index, waiting = index + len(waiting), []
    yield from _batch(predictor, waiting, index)


def _batch(predictor: Predictor, images: list[FloatImage], first: int) -> Iterator[RunFrame]:
    for number, prediction in enumerate(predictor.predict_batch(images)):
        yield RunFrame(first + number, images[number], prediction)
