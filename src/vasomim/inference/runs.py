"""DICOM runs to folders of results, one after the other: each appears whole or not at all, and is not done twice."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from vasomim.data.dicom.run import DicomRun, cached_run
from vasomim.data.frames import read_mask
from vasomim.data.listing import RUN_SUFFIXES, natural_key
from vasomim.errors import DataError, Interrupted, MisuseError, VasomimError
from vasomim.files import writing
from vasomim.inference.derived import Software, Source, missing_uids
from vasomim.inference.files import PredictionSummary, hash_file, ordered
from vasomim.inference.predictor import Predictor
from vasomim.inference.run_outputs import RunParts, write_outputs
from vasomim.inference.temporal import RunFrame, smooth
from vasomim.inference.writers import RUNS, PredictionFolder, write_pictures
from vasomim.types import FloatImage, Record

_UNFINISHED = ".unfinished"
"""Where a run is written until it is whole; what a killed call left there is deleted."""
_WRITERS = 3


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are predicted and what is written of them."""

    parts: RunParts = field(default_factory=RunParts)
    smoothing: int = 0
    """Frames on each side that a probability is averaged over."""
    keep_identity: bool = False
    """Name results after their files, and copy patient and study into derived objects."""


@dataclass(frozen=True)
class _Plan:
    """A run and the names it is written under."""

    run: DicomRun
    name: str
    ids: Mapping[int, str]
    """Id of each frame, by its index in the run."""
    parts: RunParts
    missing: Sequence[str]
    """UIDs without which no DICOM object can refer to the run; its parts are then without them."""


@dataclass(frozen=True)
class RunRecords:
    """The frames of one DICOM file."""

    frames: tuple[Record, ...]
    position: int
    """Of the file among all of the call, from 1."""
    own: str
    """The file's own name, which may name a patient; empty where two files share it."""

    @property
    def neutral(self) -> str:
        """What the file is called while nobody has compared its name with its content."""
        return f"run_{self.position:04d}"

    @property
    def path(self) -> Path:
        return self.frames[0].path


def group_runs(records: Sequence[Record]) -> list[RunRecords]:
    """Records of DICOM frames by their files, in natural order of their paths."""
    by_path: dict[Path, list[Record]] = {}
    for record in sorted(records, key=lambda record: natural_key(str(record.path))):
        by_path.setdefault(record.path, []).append(record)
    counts = Counter(_own_name(frames[0]) for frames in by_path.values())
    runs = []
    for position, frames in enumerate(by_path.values(), 1):
        own = _own_name(frames[0])
        runs.append(RunRecords(tuple(frames), position, own if counts[own] == 1 else ""))
    return runs


def _own_name(record: Record) -> str:
    """The path of a file below the folder that was named, without suffix."""
    root = Path(record.source)
    inner = record.path.relative_to(root) if root in record.path.parents else Path(record.path.name)
    return (inner.with_suffix("") if inner.suffix.lower() in RUN_SUFFIXES else inner).as_posix()


def predict_runs(
    predictor: Predictor,
    runs: Sequence[RunRecords],
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
        runs: from `group_runs`.
        folder: from `open_folder`, with what `options` say among its settings.
        options: how, and what is written.
        progress: called with numbers of frames that are finished or skipped.
        warn: called with one line for each run that cannot be used or needs attention.

    Raises:
        VasomimError: nothing more can be written, or memory ran out; what is done stays.
        Interrupted: stopped by Ctrl-C; runs that are done stay.
    """
    session = _Session(predictor, folder, options, progress, warn)
    failures: list[str] = []
    try:
        for records in runs:
            try:
                session.do(records)
            except (DataError, MisuseError) as error:  # misuse: the file is gone
                hint = f" (file {records.position} of {len(runs)}; --keep-identity shows its path)"
                line = f"{error}{'' if options.keep_identity or len(runs) == 1 else hint}"
                failures.append(line)
                folder.note_failed_run(records.neutral, line, session.outdated(records))
                warn(line)
    except KeyboardInterrupt as stop:
        raise Interrupted("stopped; runs that are done stay, and the same command goes on with the others") from stop
    finally:
        shutil.rmtree(folder.path / _UNFINISHED, ignore_errors=True)
        with contextlib.suppress(VasomimError):  # the error that brought us here, if any, says more
            folder.save()
    return session.summary(sum(len(records.frames) for records in runs), failures)


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
        self.made_by = {name: folder.identity[name] for name in ("weights", "settings")}
        self.software = Software(
            weights=predictor.name,
            fingerprint=folder.identity["weights"]["hash"],
            settings=", ".join(f"{name} {value}" for name, value in folder.identity["settings"].items()),
        )
        self.written = datetime.datetime.now() if options.keep_identity else None
        self.predicted, self.skipped, self.seconds = 0, 0, 0.0
        self.done: dict[str, dict[str, Any]] = {}

    def summary(self, frames: int, failures: Sequence[str]) -> PredictionSummary:
        """How the call ended, in frames."""
        counted = sum(entry["frames"] for entry in self.done.values())
        vessel = sum(entry["frames"] * entry["vessel_share"] for entry in self.done.values())
        return PredictionSummary(
            frames,
            self.predicted,
            self.skipped,
            tuple(failures),
            vessel / counted if counted else None,
            self.seconds / self.predicted if self.predicted else None,
        )

    def do(self, records: RunRecords) -> None:
        """Predict one run, or find it done.

        Raises:
            DataError, MisuseError: it cannot be used.
        """
        label = str(records.path) if self.options.keep_identity else records.neutral
        run = cached_run(records.path, label, subtract=records.frames[0].subtract)
        source = hash_file(records.path)
        plan = self._plan(records, run)
        if self._is_done(plan, source):
            self.skipped += len(plan.ids)
            self.progress(len(plan.ids))
        else:
            began = time.perf_counter()
            report = self._write(plan)
            self.predicted += len(plan.ids)
            seconds = round(time.perf_counter() - began, 2)
            self.folder.note_run(plan.name, {**_entry(report), "seconds": seconds, "source": source})
        self.done[plan.name] = self.folder.runs[plan.name]

    def outdated(self, records: RunRecords) -> list[str]:
        """Names of runs that earlier calls made from another content of a file that cannot be used now.

        Only names tell: nothing is found where pixels gave the name, or where files of several folders share it.
        """
        first = records.frames[0]
        names = {first.id, first.id.removesuffix(f"/{(first.frame or 0) + 1:04d}"), records.own} - self.done.keys()
        known = [name for name in names if name in self.folder.runs]
        try:
            source = hash_file(records.path) if known else ""
        except DataError:
            return known
        return [name for name in known if self.folder.runs[name].get("source") != source]

    def _plan(self, records: RunRecords, run: DicomRun) -> _Plan:
        """Under which names a run is written.

        Ids of records give nobody away (see `expand_runs`); a file's own name may, and is taken where that is wanted.
        """
        ids = [record.id for record in records.frames]
        name = ids[0].rpartition("/")[0] if len(run) > 1 else ids[0]
        if self.options.keep_identity and records.own:
            ids, name = [records.own + found.removeprefix(name) for found in ids], records.own
        indices = [record.frame or 0 for record in records.frames]
        missing = missing_uids(run) if self.options.parts.dicom else []
        parts = dataclasses.replace(self.options.parts, dicom=False) if missing else self.options.parts
        return _Plan(run, name, dict(zip(indices, ids, strict=True)), parts, missing)

    def _is_done(self, plan: _Plan, source: str) -> bool:
        """Whether all that is asked for exists, made from a file of the same content."""
        entry = self.folder.runs.get(plan.name)
        if entry is None or entry["source"] != source or entry["frames"] != len(plan.ids):
            return False
        kinds = self.folder.parts.kinds
        pictures = [self.folder.file(kind, frame_id) for kind in kinds for frame_id in plan.ids.values()]
        files = [self.folder.path / RUNS / plan.name / file for file in plan.parts.files(len(plan.ids))]
        return all(file.is_file() for file in [*pictures, *files])

    def _write(self, plan: _Plan) -> dict[str, Any]:
        """Write all of a run aside, then move it into place; the report."""
        stage = self.folder.path / _UNFINISHED
        shutil.rmtree(stage, ignore_errors=True)
        seen = [(frame.index + 1, frame.prediction.meta) for frame in self._predict(plan, stage)]
        warnings = _warnings(plan, seen)
        for line in warnings:
            self.warn(f"{plan.name}: {line}")
        report = write_outputs(
            stage / RUNS / plan.name,
            lambda index: read_mask(stage / "masks" / f"{plan.ids[index]}.png"),
            Source(
                run=plan.run,
                indices=list(plan.ids),
                keep_identity=self.options.keep_identity,
                written=self.written,
            ),
            self.software,
            plan.parts,
            {"run": plan.name, **self.made_by, "warnings": warnings},
        )
        self._move(stage, plan)
        return report

    def _predict(self, plan: _Plan, stage: Path) -> Iterator[RunFrame]:
        """Every frame once it is predicted, smoothed and written; decoded ahead and written behind in threads."""

        def write(frame: RunFrame) -> RunFrame:
            write_pictures(stage, plan.ids[frame.index], frame.image, frame.prediction, self.folder.parts)
            return frame

        indices = list(plan.ids)
        ahead = 2 * self.predictor.batch_size
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_WRITERS) as writers:
            images = ordered(reader, plan.run.frame, indices, ahead)
            frames = smooth(_predicted(self.predictor, zip(indices, images, strict=True)), self.options.smoothing)
            for frame in ordered(writers, write, frames, ahead):
                self.progress(1)
                self.seconds += frame.prediction.meta["seconds"]
                yield frame

    def _move(self, stage: Path, plan: _Plan) -> None:
        """From the stage into place; what an earlier file of that name left goes, runs in sub-folders stay."""
        staged = [file.relative_to(stage) for file in stage.rglob("*") if file.is_file()]
        with writing(Path(plan.name)):
            for file in self.folder.files_of_run(plan.name, self.folder.parts.kinds):
                file.unlink()
            for inner in staged:
                target = self.folder.path / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                (stage / inner).replace(target)


def _warnings(plan: _Plan, seen: Sequence[tuple[int, Mapping[str, Any]]]) -> list[str]:
    """What is worth a word, given number and `meta` of each frame."""
    blank = [number for number, meta in seen if "warning" in meta]
    # Frames before the contrast agent arrives are doubted in any run.
    doubts = [meta.get("doubt") for _, meta in seen if "warning" not in meta]
    found = []
    if plan.missing:
        found.append(f"no {', '.join(plan.missing)}: no DICOM object can refer to it, and none is written")
    if plan.run.left_out:
        found.append(plan.run.says_too_few)
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


def _predicted(predictor: Predictor, images: Iterable[tuple[int, FloatImage]]) -> Iterator[RunFrame]:
    """Frames with their predictions, computed in batches."""
    source = iter(images)
    while batch := list(islice(source, predictor.batch_size)):
        predictions = predictor.predict_batch([image for _, image in batch])
        for (index, image), prediction in zip(batch, predictions, strict=True):
            yield RunFrame(index, image, prediction)
