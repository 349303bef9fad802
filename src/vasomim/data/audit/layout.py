"""What lies below the audited folders: frames with their set, split and patient, and files that nothing reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from vasomim.data.arcade import is_arcade_folder
from vasomim.data.audit.findings import Finding, finding
from vasomim.data.boxes import TABLE, FrameNote, is_boxes_folder, read_boxes
from vasomim.data.folder import is_masked_folder, mask_folder
from vasomim.data.listing import is_frame, list_frames, no_frame
from vasomim.data.open import frame_files
from vasomim.data.samples import distinct_tails
from vasomim.errors import DataError, MisuseError

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
    masks: Path | None = None
    annotations: tuple[Path, ...] = ()
    notes: dict[str, FrameNote] = field(default_factory=dict)
    """Rows of boxes.csv by file name."""

    @property
    def images(self) -> Path:
        """Where the frames of a labelled set lie."""
        return self.root / "images"

    def show(self, path: Path) -> str:
        """Name of a file of this set in the report."""
        return _below(self.name, path.relative_to(self.root).as_posix())

    def show_frame(self, key: str) -> str:
        """Name of a frame that a table or an annotation file calls `key`; it may not be there."""
        return _below(self.name, f"images/{key}")


@dataclass(frozen=True)
class AuditFrame:
    """A frame before its pixels are read."""

    path: Path
    name: str
    """As it is shown: relative to the audited folder, whose name is in front where there are several."""
    root: Path
    """The audited folder."""
    home: AuditSet
    split: str | None
    patient: str | None = None
    series: str | None = None

    @property
    def key(self) -> str:
        """Path below images/ (or below the set), by which tables and annotation files name it."""
        base = self.home.images if self.home.images in self.path.parents else self.home.root
        return self.path.relative_to(base).as_posix()

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
    labels = distinct_tails([str(root.absolute()) for root in roots]) if len(roots) > 1 else [""]
    reader = _Reader()
    for root, label in zip(roots, labels, strict=True):
        reader.read(root, label)
    return Layout(reader.frames, list(reader.sets.values()), reader.others, reader.findings)


class _Reader:
    """Collects what lies below one folder after the other."""

    def __init__(self) -> None:
        self.frames: list[AuditFrame] = []
        self.sets: dict[Path, AuditSet] = {}
        self.others: list[tuple[Path, str]] = []
        self.findings: list[Finding] = []
        self._tables: dict[Path, dict[str, FrameNote]] = {}
        self._is_labelled = cache(_is_labelled)
        self._seen: set[str] = set()

    def read(self, root: Path, label: str) -> None:
        paths = frame_files(root)
        if not paths:
            raise no_frame(root)
        real = [os.path.realpath(path) for path in paths]
        homes: dict[Path, AuditSet] = {}
        for path, target in zip(paths, real, strict=True):
            if target not in self._seen:
                if path.parent not in homes:
                    homes[path.parent] = self._home(path.parent, root, label)
                self.frames.append(self._frame(path, homes[path.parent], root, label))
        self._seen.update(real)
        others = frame_files(root, wanted=lambda name: not is_frame(name))
        self.others += [(path, _shown(path, root, label)) for path in others]

    def _home(self, folder: Path, root: Path, label: str) -> AuditSet:
        """The labelled set a folder of frames belongs to, or its split, or the audited folder."""
        inside = [root, *(root / part for part in _heads(folder.relative_to(root)))]
        above = (folder, *folder.parents)
        labelled = [place for place in inside if place / "images" in above and self._is_labelled(place)]
        splits = [place for place in inside if place.name.lower() in SPLITS]
        place = (labelled or splits or [root])[-1]
        if place not in self.sets:
            name = _shown(place, root, label)
            self.sets[place] = self._labelled(place, name) if labelled else AuditSet(place, name)
        return self.sets[place]

    def _labelled(self, place: Path, name: str) -> AuditSet:
        files = tuple(sorted(p for p in (place / "annotations").glob("*.json") if not p.name.startswith(".")))
        return AuditSet(place, name, mask_folder(place), files, self._notes(place, name))

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

    def _frame(self, path: Path, home: AuditSet, root: Path, label: str) -> AuditFrame:
        note = self._note(path, home)
        split = _split_of(path.relative_to(root).parts[:-1], root, label)
        patient, series = (note.patient, note.series) if note else (None, None)
        return AuditFrame(path, _shown(path, root, label), root, home, split, patient, series)

    def _note(self, path: Path, home: AuditSet) -> FrameNote | None:
        """The row of a frame in the boxes.csv beside its images/, also where that lies above the audited folder."""
        images = next((folder for folder in path.parents if folder.name == "images"), None)
        if images is None:
            return None
        notes = home.notes if images == home.images else self._notes(images.parent, home.name)
        return notes.get(path.relative_to(images).as_posix())


def masks_by_stem(home: AuditSet) -> dict[str, list[Path]]:
    """Mask files of a set by their path without suffix; more than one is a mistake."""
    found: dict[str, list[Path]] = {}
    for path in list_frames(home.masks) if home.masks else ():
        found.setdefault(path.relative_to(home.masks or path).with_suffix("").as_posix(), []).append(path)
    return found


def _is_labelled(place: Path) -> bool:
    return is_arcade_folder(place) or is_masked_folder(place) or is_boxes_folder(place)


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
