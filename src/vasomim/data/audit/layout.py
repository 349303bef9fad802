"""What lies below the audited folders: frames with their set, split and patient, and files that nothing reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from vasomim.data.arcade import is_arcade_folder
from vasomim.data.audit.findings import Finding, finding
from vasomim.data.boxes import TABLE, FrameNote, is_boxes_folder, read_boxes
from vasomim.data.folder import is_masked_folder, mask_folder
from vasomim.data.frames import is_frame
from vasomim.data.listing import list_frames, no_frame
from vasomim.data.nnunet import CHANNEL, IMAGES, LABELS, is_nnunet_folder, label_names
from vasomim.data.nnunet import TABLE as NNUNET_TABLE
from vasomim.data.open import frame_files
from vasomim.data.packed import is_pack
from vasomim.data.runs import expand_runs
from vasomim.data.samples import distinct_tails
from vasomim.errors import DataError, MisuseError
from vasomim.types import Record

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
"""Names of folders that are splits, in lower case, and which split they are."""


@dataclass(frozen=True)
class AuditSet:
    """Frames that belong together: a labelled set, or the loose frames of a folder."""

    root: Path
    name: str
    """Where it lies, as it is shown; empty for the audited folder itself."""
    images: Path
    """Where its frames lie: the folder itself, or one in it."""
    masks: Path | None = None
    annotations: tuple[Path, ...] = ()
    notes: dict[str, FrameNote] = field(default_factory=dict)
    """Rows of boxes.csv by file name."""
    classes: frozenset[int] | None = None
    """Values that masks may have, 0 being background; None where they are black and white."""
    channel: str = ""
    """What the names of frames end in and those of their masks do not."""

    def show(self, path: Path) -> str:
        """Name of a file of this set in the report."""
        return _below(self.name, path.relative_to(self.root).as_posix())

    def show_frame(self, key: str) -> str:
        """Name of a frame that a table or an annotation file calls `key`; it may not be there."""
        return self.show(self.images) + f"/{key}" if self.images != self.root else _below(self.name, key)


@dataclass(frozen=True)
class AuditFrame:
    """A frame before its pixels are read."""

    record: Record
    name: str
    """As it is shown: relative to the audited folder, whose name is in front where there are several."""
    root: Path
    """The audited folder."""
    home: AuditSet
    split: str | None
    patient: str | None = None
    series: str | None = None
    in_run: bool = False
    """Whether it is one of several frames of a DICOM file."""

    @property
    def path(self) -> Path:
        """Its file."""
        return self.record.path

    @property
    def key(self) -> str:
        """Path below the folder of images, by which tables and annotation files name it."""
        return self.path.relative_to(self.home.images).as_posix()

    @property
    def mask_names(self) -> tuple[str, ...]:
        """What its mask may be called, without suffix."""
        stem = Path(self.key).with_suffix("").as_posix().removesuffix(self.home.channel)
        number = f"{(self.record.frame or 0) + 1:04d}"
        return (f"{stem}/{number}", f"{stem}_{number}") if self.in_run else (stem,)

    @property
    def run(self) -> tuple[str, str | None] | None:
        """Patient and cine run, where the patient is known."""
        return None if self.patient is None else (self.patient, self.series)


@dataclass(frozen=True)
class Layout:
    """All that is to be audited."""

    frames: list[AuditFrame]
    sets: list[AuditSet]
    others: list[tuple[Path, str]]
    """Other files in folders of frames, and their names."""
    findings: list[Finding]
    """Tables that cannot be used."""


def find_layout(roots: Sequence[Path]) -> Layout:
    """Frames, sets and other files below some folders; nothing but tables is read. A file reached twice counts once.

    Raises:
        MisuseError: no folder, a missing one, one without frames, or one named twice.
        DataError: a folder cannot be listed.
    """
    if not roots:
        raise MisuseError("got no folder to look at; name at least one")
    for root in roots:
        if root.is_file():
            raise MisuseError(f"{root} is a file; name the folder that holds the frames")
        if is_pack(root):
            raise MisuseError(f"{root} is a pack; look at the frames before they are packed")
    labels = distinct_tails([str(root.absolute()) for root in roots]) if len(roots) > 1 else [""]
    reader = _Reader()
    for root, label in zip(roots, labels, strict=True):
        reader.read(root, label)
    return Layout(reader.frames(), list(reader.sets.values()), reader.others, reader.findings)


@dataclass(frozen=True)
class _File:
    """A file of frames: where it was found, and what is known of it."""

    record: Record
    root: Path
    home: AuditSet
    split: str | None
    series: str | None


class _Reader:
    """Collects what lies below one folder after the other."""

    def __init__(self) -> None:
        self.sets: dict[Path, AuditSet] = {}
        self.others: list[tuple[Path, str]] = []
        self.findings: list[Finding] = []
        self._files: dict[Path, _File] = {}
        self._tables: dict[Path, dict[str, FrameNote]] = {}
        self._is_labelled = cache(_is_labelled)
        self._seen: set[str] = set()

    def read(self, root: Path, label: str) -> None:
        """Note the files of a folder."""
        found = frame_files(root, wanted=lambda _: True)
        paths = [path for path in found if is_frame(path)]
        if not paths:
            raise no_frame(root, dicom=True)
        fresh = [path for path in paths if os.path.realpath(path) not in self._seen]
        self._seen.update(map(os.path.realpath, fresh))
        homes: dict[Path, AuditSet] = {}
        for path in fresh:
            if path.parent not in homes:
                homes[path.parent] = self._home(path.parent, root, label)
            self._files[path] = self._file(path, homes[path.parent], root, label)
        taken = set(paths)
        self.others += [(path, _shown(path, root, label)) for path in found if path not in taken]

    def frames(self) -> list[AuditFrame]:
        """A frame for each picture and for each frame of a DICOM file, under names that tell nothing of a patient."""
        records = expand_runs([file.record for file in self._files.values()])
        counts = Counter(record.path for record in records)
        return [_frame(record, self._files[record.path], in_run=counts[record.path] > 1) for record in records]

    def _home(self, folder: Path, root: Path, label: str) -> AuditSet:
        """The labelled set a folder of frames belongs to, or its split, or the audited folder."""
        inside = [root, *(root / part for part in _heads(folder.relative_to(root)))]
        above = {folder, *folder.parents}
        labelled = [
            place for place in inside if above & {place / "images", place / IMAGES} and self._is_labelled(place)
        ]
        splits = [place for place in inside if place.name.lower() in SPLITS]
        place = (labelled or splits or [root])[-1]
        if place not in self.sets:
            name = _shown(place, root, label)
            self.sets[place] = self._labelled(place, name) if labelled else AuditSet(place, name, place)
        return self.sets[place]

    def _labelled(self, place: Path, name: str) -> AuditSet:
        if is_nnunet_folder(place):
            classes = self._classes(place, name)
            return AuditSet(place, name, place / IMAGES, place / LABELS, classes=classes, channel=CHANNEL)
        files = tuple(sorted(p for p in (place / "annotations").glob("*.json") if not p.name.startswith(".")))
        return AuditSet(place, name, place / "images", mask_folder(place), files, self._notes(place, name))

    def _classes(self, place: Path, name: str) -> frozenset[int]:
        """Values that nnU-Net's labels may have; a broken table is a finding, and allows all."""
        try:
            return frozenset(label_names(place))
        except DataError as error:
            shown = _below(name, NNUNET_TABLE)
            text = str(error).replace(str(place / NNUNET_TABLE), shown)
            self.findings.append(finding("unreadable_annotations", [shown], text))
            return frozenset(range(256))

    def _notes(self, place: Path, name: str) -> dict[str, FrameNote]:
        """The table of a set, read once; a broken one is a finding."""
        table = place / TABLE
        if place not in self._tables:
            self._tables[place] = {}
            try:
                self._tables[place] = read_boxes(table) if table.is_file() else {}
            except DataError as error:
                shown = _below(name, TABLE)
                self.findings.append(finding("broken_table", [shown], str(error).replace(str(table), shown)))
        return self._tables[place]

    def _file(self, path: Path, home: AuditSet, root: Path, label: str) -> _File:
        note = self._note(path, home)
        split = _split_of(path.relative_to(root).parts[:-1], root, label)
        record = Record(_shown(path, root, label), path, note.patient if note else None, str(root))
        return _File(record, root, home, split, note.series if note else None)

    def _note(self, path: Path, home: AuditSet) -> FrameNote | None:
        """The row of a frame in the boxes.csv beside its images/, also where that lies above the audited folder."""
        images = next((folder for folder in path.parents if folder.name == "images"), None)
        if images is None:
            return None
        notes = home.notes if images == home.images else self._notes(images.parent, home.name)
        return notes.get(path.relative_to(images).as_posix())


def _frame(record: Record, file: _File, *, in_run: bool) -> AuditFrame:
    # The frames of a DICOM file are one run.
    series = file.series if record.frame is None else record.path.as_posix()
    return AuditFrame(record, record.id, file.root, file.home, file.split, record.patient, series, in_run)


def masks_by_stem(home: AuditSet) -> dict[str, list[Path]]:
    """Mask files of a set by their path without suffix; more than one is a mistake."""
    found: dict[str, list[Path]] = {}
    for path in list_frames(home.masks) if home.masks else ():
        found.setdefault(path.relative_to(home.masks or path).with_suffix("").as_posix(), []).append(path)
    return found


def _is_labelled(place: Path) -> bool:
    return any(fits(place) for fits in (is_arcade_folder, is_masked_folder, is_boxes_folder, is_nnunet_folder))


def _heads(path: Path) -> list[Path]:
    """The path's beginnings, shortest first, itself last."""
    return [Path(*path.parts[:length]) for length in range(1, len(path.parts) + 1)]


def _shown(path: Path, root: Path, label: str) -> str:
    inner = path.relative_to(root).as_posix()
    return label if inner == "." else _below(label, inner)


def _below(name: str, inner: str) -> str:
    return f"{name}/{inner}" if name else inner


def _split_of(folders: Sequence[str], root: Path, label: str) -> str | None:
    """The innermost folder that is named like a split, else the audited folder where there are several."""
    named = [SPLITS[part.lower()] for part in (root.resolve().name, *folders) if part.lower() in SPLITS]
    return named[-1] if named else label or None
