"""DICOM files among frames: one record a frame, under ids that name nobody, with frames of one patient together."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vasomim.data.dicom.choice import BEST, parse_frames
from vasomim.data.dicom.identity import gives_away, identity_words, patient_keys
from vasomim.data.dicom.layout import MAX_FRAMES
from vasomim.data.dicom.parsing import NoFramesError, quiet, read_header
from vasomim.data.dicom.run import DicomRun, cached_run
from vasomim.data.frames import is_run
from vasomim.data.groups import chains, linked
from vasomim.data.samples import NUMBERED
from vasomim.errors import DataError, MisuseError
from vasomim.types import Record

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    """What is known of a DICOM file when its frames are listed."""

    record: Record
    """Of the file."""
    frames: Sequence[int]
    """Those asked for."""
    typed: bool
    num_frames: int = 1
    words: frozenset[str] = frozenset()
    """What would identify somebody; never leaves this module."""
    keys: tuple[str, ...] = ()
    """What it shares with other files of the patient or study; never leaves this module."""
    alias: str = ""
    """What to call it where its id would identify somebody."""
    damaged: bool = False
    is_angiogram: bool = True
    subtracted: bool = False
    left_out: int = 0
    """Frames beyond those that it claims."""


def expand_runs(
    records: Sequence[Record], frames: str | None = None, *, subtract: bool = False, named: Collection[Path] = ()
) -> list[Record]:
    """Each DICOM file replaced by a record for each of its frames; other records stay.

    A run of several frames gives `<id>/<frame number, 4 digits>`; numbers count from 1 as in DICOM and its viewers.
    Where an id would give away a patient's name, number or birth date, an institution or a physician, as far as the
    file itself tells them, `run-<hash of its pixels>` stands for all of it. Files of one patient or study get one
    `patient`, a number without meaning. A damaged file gives one record, whose reading says what is wrong.

    Args:
        records: of files; ids are unique.
        frames: which frames of each run: see `DicomRun.select`.
        subtract: less their masks, see `open_run`.
        named: files that somebody typed, and whose paths messages may repeat. DICOM objects without frames are left
            out unless they are among these.

    Raises:
        MisuseError: `frames` cannot be understood, or no frame is left.
        MissingExtraError: there are DICOM files, and what reads them is not installed.
    """
    if frames is not None and frames.strip() != BEST:
        parse_frames(frames, MAX_FRAMES)
    at = [k for k, record in enumerate(records) if is_run(record.path)]
    if not at:
        if frames is not None or subtract:
            _log.warning("frames and subtract have no effect: there is no DICOM file")
        return list(records)
    files = {k: _survey(records[k], frames, subtract, records[k].path in named) for k in at}
    expanded = _expanded(records, files)
    if not expanded:
        which = "frame" if frames is None else f"frame {frames}"
        longest = max((file.num_frames for file in files.values() if file is not None), default=0)
        held = f"; they have at most {longest}, counted from 0" if longest else ""
        raise MisuseError(f"there is no {which} in the {len(at)} DICOM file(s) given{held}: name others")
    _report(list(files.values()), frames, subtract)
    return expanded


def _survey(record: Record, frames: str | None, subtract: bool, typed: bool) -> _File | None:
    """What a file holds; None where it has no frames and nobody asked for it by name."""
    record = dataclasses.replace(record, frame=0, subtract=subtract)
    try:
        run = cached_run(record.path, record.shown, subtract=subtract)
        return _described(run, _File(record, _selected(run, frames), typed))
    except NoFramesError:
        return _File(record, [0], typed, damaged=True) if typed else None
    except DataError:
        return _File(record, [0], typed, words=_words_of_damaged(record.path), alias="run-damaged", damaged=True)


def _described(run: DicomRun, file: _File) -> _File:
    with quiet():
        words, keys = identity_words(run.dataset), tuple(patient_keys(run.dataset))
    secret = gives_away(PurePosixPath(file.record.id).parts, words)
    return dataclasses.replace(
        file,
        num_frames=len(run),
        words=words,
        keys=keys,
        alias=f"run-{run.content_hash()}" if secret else "",
        is_angiogram=run.facts.is_angiogram,
        subtracted=run.subtracted,
        left_out=run.left_out,
    )


def _words_of_damaged(path: Path) -> frozenset[str]:
    """What identifies somebody in a file whose pixels, perhaps, alone are damaged."""
    try:
        header = read_header(path, "")
        with quiet():
            return identity_words(header.dataset)
    except DataError:
        return frozenset()


def _selected(run: DicomRun, frames: str | None) -> Sequence[int]:
    try:
        return run.select(frames)
    except MisuseError:  # a number that this run does not have; others may
        return []


def _report(files: Sequence[_File | None], frames: str | None, subtract: bool) -> None:
    """Say in one line each what many files have in common."""
    there = [file for file in files if file is not None]
    readable = [file for file in there if not file.damaged]
    other = sum(not file.is_angiogram for file in readable)
    counts = {
        "without frames (reports, segmentations, ...) are left out": len(files) - len(there),
        f"have no frame {frames} and are left out": sum(not file.frames for file in there),
        "are not of the XA class; their grey scale may not be that of an angiogram": other,
        "hold more frames than NumberOfFrames says, and these are left out": sum(f.left_out > 0 for f in readable),
        "do not ask to be subtracted and are taken as they are": subtract and sum(not f.subtracted for f in readable),
    }
    for what, count in counts.items():
        if count:
            _log.warning("%d of %d DICOM file(s) %s", count, len(files), what)


def _expanded(records: Sequence[Record], files: dict[int, _File | None]) -> list[Record]:
    patients = _patients({k: file for k, file in files.items() if file is not None})
    everybody = frozenset().union(*(file.words for file in files.values() if file is not None))
    taken = {record.id for k, record in enumerate(records) if k not in files}
    expanded: list[Record] = []
    for k, record in enumerate(records):
        file = files.get(k)
        if k not in files:
            expanded.append(record)
        elif file is not None:
            found = _frames_of(file, patients[k], everybody, taken)
            taken.update(frame.id for frame in found)
            expanded += found
    return expanded


def _frames_of(file: _File, patient: str, everybody: frozenset[str], taken: Collection[str]) -> list[Record]:
    record = file.record
    secret = gives_away(PurePosixPath(record.id).parts, file.words or everybody)
    base = file.alias if secret and file.alias else record.id
    names = _frame_ids(base, file)
    number = 1
    while any(name in taken for name in names):
        number += 1
        names = _frame_ids(f"{base}-{number}", file)
    shown = f"{record.source} ({base})" if secret and not file.typed else ""
    return [
        dataclasses.replace(record, id=name, frame=index, patient=record.patient or patient, name=shown)
        for name, index in zip(names, file.frames, strict=True)
    ]


def _frame_ids(base: str, file: _File) -> list[str]:
    return [base if file.num_frames == 1 else f"{base}/{index + 1:04d}" for index in file.frames]


def _patients(files: dict[int, _File]) -> dict[int, str]:
    """A number for each group of files that are of one patient or one study, directly or through others."""
    places = list(files)
    sharing: dict[str, list[int]] = {}
    for at, file in enumerate(files.values()):
        for key in file.keys:
            sharing.setdefault(key, []).append(at)
    groups = linked(len(places), chains(sharing.values()))
    return {places[at]: f"{NUMBERED}{places[group[0]]}" for group in groups for at in group}
