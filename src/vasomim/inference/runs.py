"""DICOM runs to folders of results, one after the other: each appears whole or not at all, and is not done twice.

On its way a run gets its names (`run_files`); if it is not done already, its frames are predicted (`run_frames`) and
written aside, then what is derived from frames and masks (`run_outputs`), and the whole moves into place (`writers`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vasomim.data.dicom.run import DicomRun, cached_run
from vasomim.errors import DataError, Interrupted, MisuseError, VasomimError
from vasomim.inference.derived import Software, Source, missing_uids
from vasomim.inference.files import PredictionSummary, Tally, hash_file, ordered
from vasomim.inference.predictor import Predictor
from vasomim.inference.run_files import RunFile, RunNames
from vasomim.inference.run_frames import predicted_frames
from vasomim.inference.run_outputs import RunParts, write_outputs
from vasomim.inference.temporal import RunFrame
from vasomim.inference.writers import RUNS, PredictionFolder, picture_file, write_pictures

_WRITERS = 3
Metas = Mapping[int, Mapping[str, Any]]
"""`Prediction.meta` of each frame, by its number, from 1."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are predicted and what is written of them."""

    parts: RunParts = field(default_factory=RunParts)
    smoothing: int = 0
    """Frames on each side that a probability is averaged over."""
    keep_identity: bool = False
    """Name results after their files, and copy patient and study into derived objects."""


def predict_runs(
    predictor: Predictor,
    files: Sequence[RunFile],
    folder: PredictionFolder,
    options: RunOptions,
    *,
    progress: Callable[[int], object] = lambda _: None,
    warn: Callable[[str], object] = lambda _: None,
) -> PredictionSummary:
    """Write OUT/masks/<id>.png and so on, and OUT/runs/<run>/ with DICOM objects, film and report.

    A run whose file, weights and settings are unchanged since an earlier call is skipped. A run that cannot be used is
    reported and the others are done. Pixels of a few batches are held at a time, and what leaves them compressed.

    Args:
        predictor: what segments.
        files: from `group_by_file`.
        folder: from `open_folder`, with what `options` say among its settings.
        options: how, and what is written.
        progress: called with numbers of frames that are finished or skipped.
        warn: called with one line for each run that cannot be used or needs attention.

    Raises:
        VasomimError: nothing more can be written, or memory ran out; what is done stays.
        Interrupted: stopped by Ctrl-C; runs that are done stay.
    """
    call = _Call(predictor, folder, options, progress, warn)
    try:
        for file in files:
            try:
                call.do(file)
            except (DataError, MisuseError) as error:  # misuse: the file is gone
                hint = f" (file {file.position} of {len(files)}; --keep-identity shows its path)"
                call.give_up(file, f"{error}{'' if options.keep_identity or len(files) == 1 else hint}")
    except KeyboardInterrupt as stop:
        raise Interrupted("stopped; runs that are done stay, and the same command goes on with the others") from stop
    finally:
        folder.clear_unfinished()
        with contextlib.suppress(VasomimError):  # the error that brought us here, if any, says more
            folder.save()
    return call.tally.summary(sum(len(file.records) for file in files), call.tally.vessel_share())


@dataclass
class _RunTally(Tally):
    """What became of the runs so far, in frames."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Entries in predictions.json, by the names of the runs."""

    def vessel_share(self) -> float | None:
        """Mean over all frames that are done, None where there is none."""
        frames = sum(entry["frames"] for entry in self.done.values())
        vessel = sum(entry["frames"] * entry["vessel_share"] for entry in self.done.values())
        return vessel / frames if frames else None


@dataclass(frozen=True)
class _Job:
    """A run, what it is called, and what is written of it."""

    run: DicomRun
    names: RunNames
    parts: RunParts
    """Without DICOM objects where UIDs are missing."""
    missing: Sequence[str]
    """UIDs without which no DICOM object can refer to the run."""


class _Call:
    """One call of `predict_runs`: what all of its runs share, and what became of them."""

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
        self.written = datetime.datetime.now() if options.keep_identity else None
        self.tally = _RunTally()

    def do(self, file: RunFile) -> None:
        """Predict the run of a file, or find it done.

        Raises:
            DataError, MisuseError: it cannot be used.
        """
        job = self._job(file)
        file_hash = hash_file(file.path)
        name, frame_ids = job.names.run, list(job.names.frames.values())
        if self.folder.is_run_done(name, frame_ids, job.parts.files(len(frame_ids)), file_hash):
            self.tally.skipped += len(frame_ids)
            self.progress(len(frame_ids))
        else:
            began = time.perf_counter()
            report = self._write(job)
            self.tally.predicted += len(frame_ids)
            seconds = round(time.perf_counter() - began, 2)
            self.folder.note_run(name, {**_entry(report), "seconds": seconds, "source": file_hash})
        self.tally.done[name] = self.folder.runs[name]

    def give_up(self, file: RunFile, line: str) -> None:
        """Report a file that cannot be used; what earlier calls made from another content of it goes."""
        self.tally.failures.append(line)
        self.folder.note_failed_run(file.neutral_name, line, self._outdated(file))
        self.warn(line)

    def _outdated(self, file: RunFile) -> list[str]:
        """Names of runs that earlier calls made from another content of a file that cannot be used now.

        Only names tell: nothing is found where pixels gave the name, or where files of several folders share it.
        """
        known = [name for name in file.possible_names() - self.tally.done.keys() if name in self.folder.runs]
        try:
            file_hash = hash_file(file.path) if known else ""
        except DataError:
            return known
        return [name for name in known if self.folder.runs[name].get("source") != file_hash]

    def _job(self, file: RunFile) -> _Job:
        label = str(file.path) if self.options.keep_identity else file.neutral_name
        run = cached_run(file.path, label, subtract=file.records[0].subtract)
        names = file.names(len(run), keep_identity=self.options.keep_identity)
        missing = missing_uids(run) if self.options.parts.dicom else []
        parts = dataclasses.replace(self.options.parts, dicom=False) if missing else self.options.parts
        return _Job(run, names, parts, missing)

    def _write(self, job: _Job) -> dict[str, Any]:
        """Write all of a run aside, then move it into place; returns its report."""
        self.folder.clear_unfinished()
        stage = self.folder.unfinished
        warnings = _warnings(job, self._write_pictures(job, stage))
        for line in warnings:
            self.warn(f"{job.names.run}: {line}")
        report = write_outputs(
            stage / RUNS / job.names.run,
            {index: picture_file(stage, "masks", frame_id) for index, frame_id in job.names.frames.items()},
            Source(
                run=job.run,
                indices=list(job.names.frames),
                keep_identity=self.options.keep_identity,
                written=self.written,
            ),
            _software(self.folder.identity),
            job.parts,
            {"run": job.names.run, **self.folder.identity, "warnings": warnings},
        )
        self.folder.place_run(job.names.run)
        return report

    def _write_pictures(self, job: _Job, stage: Path) -> Metas:
        """Predict every frame and write its pictures below `stage`, behind in threads."""

        def write(frame: RunFrame) -> tuple[int, Mapping[str, Any]]:
            frame_id = job.names.frames[frame.index]
            write_pictures(stage, frame_id, frame.image, frame.prediction, self.folder.parts)
            return frame.index + 1, frame.prediction.meta

        metas = {}
        frames = predicted_frames(self.predictor, job.run, list(job.names.frames), self.options.smoothing)
        with ThreadPoolExecutor(_WRITERS) as writers, contextlib.closing(frames):
            for number, meta in ordered(writers, write, frames, 2 * self.predictor.batch_size):
                metas[number] = meta
                self.tally.seconds += meta["seconds"]
                self.progress(1)
        return metas


def _software(identity: Mapping[str, Any]) -> Software:
    """What made the masks, given the weights and settings of a folder."""
    return Software(
        weights=identity["weights"]["name"],
        fingerprint=identity["weights"]["hash"],
        settings=", ".join(f"{name} {value}" for name, value in identity["settings"].items()),
    )


def _warnings(job: _Job, metas: Metas) -> list[str]:
    """What is worth a word of a run whose frames are described so."""
    blank = [number for number, meta in metas.items() if "warning" in meta]
    # Frames before the contrast agent arrives are doubted in any run.
    doubts = [meta.get("doubt") for meta in metas.values() if "warning" not in meta]
    found = []
    if job.missing:
        found.append(f"no {', '.join(job.missing)}: no DICOM object can refer to it, and none is written")
    if job.run.left_out:
        found.append(job.run.says_too_few)
    if blank:
        found.append(f"frame(s) {', '.join(map(str, blank))}: all pixels are equal, no vessel can be seen")
    if doubts and all(doubts):
        found.append(f"every frame is doubtful, the first: {doubts[0]}")
    return found


def _entry(report: Mapping[str, Any]) -> dict[str, Any]:
    """What predictions.json says of a run."""
    return {
        "frames": len(report["frames"]),
        "height": report["source"]["rows"],
        "width": report["source"]["columns"],
        "vessel_share": report["summary"]["mean_vessel_share"],
        "best_frame": report["best_frame"],
    }
