"""Frames with boxes by patient: images/ beside a boxes.csv; that table read and written."""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vasomim.errors import DataError
from vasomim.files import is_file
from vasomim.types import Box, Record

_log = logging.getLogger(__name__)
TABLE = "boxes.csv"
CORNERS = ("x0", "y0", "x1", "y1")
Corners = Sequence[float]
"""Left, top, right and bottom of a box in pixels."""


@dataclass(frozen=True, slots=True)
class FrameNote:
    """What the table says of one frame."""

    patient: str | None
    boxes: tuple[Box, ...]
    series: str | None = None
    """The cine run the frame was taken from."""


def is_boxes_folder(root: Path) -> bool:
    """Whether `root` has images/ and boxes.csv."""
    return (root / "images").is_dir() and (root / TABLE).is_file()


def notes_beside(frames: Path) -> dict[str, FrameNote]:
    """What boxes.csv beside a folder of frames says of them, nothing where there is none; warns of rows without frame.

    Raises:
        DataError: as `read_boxes`.
    """
    table = frames.parent / TABLE
    notes = read_boxes(table) if table.is_file() else {}
    absent = [name for name in notes if not is_file(frames / name)]
    if absent:
        _log.warning(
            "%s: %d of the %d files it names are not there; name them by their path below %s/, with the ending",
            table,
            len(absent),
            len(notes),
            frames.name,
        )
    return notes


def with_patients(records: Sequence[Record], frames: Path, notes: Mapping[str, FrameNote]) -> list[Record]:
    """The records with the patients of `notes`, whose keys are paths below the folder `frames`."""
    found = [notes.get(_name(record, frames)) for record in records]
    return [
        dataclasses.replace(record, patient=note.patient) if note else record
        for record, note in zip(records, found, strict=True)
    ]


def read_boxes(path: Path) -> dict[str, FrameNote]:
    """Patients and boxes by file name, from a table with a header and columns file, x0, y0, x1, y1 (pixels), patient.

    A frame may have several rows; a row without coordinates adds no box. The column patient may be missing. A column
    series names the cine run of a frame. Other columns are ignored.

    Raises:
        DataError: unreadable, columns missing, a row without file, coordinates that are no box, or two patients for one
            frame; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"file", *CORNERS} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path} lacks the column(s) {', '.join(sorted(missing))}; name them in its first line")
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}; save it as a comma-separated UTF-8 table") from error
    notes: dict[str, FrameNote] = {}
    for where, row in rows:
        name, patient = row["file"], row.get("patient") or None
        if not name:
            raise DataError(f"{where} names no file; fill in the column file, or remove the line")
        before = notes.get(name, FrameNote(patient, ()))
        if before.patient != patient:
            raise DataError(f"{where}: {name} has another patient here than above; keep one")
        notes[name] = FrameNote(patient, before.boxes + _box(row, where), row.get("series") or None)
    return notes


def boxes_table(frames: Iterable[tuple[str, str | None, Sequence[Corners]]]) -> str:
    """The table that `read_boxes` reads: of each frame its file, its patient and its boxes, which may be none."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "patient", *CORNERS))
    for file, patient, boxes in frames:
        places: Sequence[Sequence[float | str]] = boxes or [("",) * len(CORNERS)]
        table.writerows((file, patient, *corners) for corners in places)
    return text.getvalue()


def _box(row: Mapping[str, str | None], where: str) -> tuple[Box, ...]:
    cells = [(row[corner] or "").strip() for corner in CORNERS]
    if not any(cells):
        return ()
    try:
        x0, y0, x1, y1 = (float(cell) for cell in cells)
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not (x0 < x1 and y0 < y1 and math.isfinite(x0 + y0 + x1 + y1)):
        raise DataError(f"{where}: {', '.join(cells)} is no box; need numbers x0 < x1 and y0 < y1")
    return (Box(x0, y0, x1, y1),)


def _name(record: Record, frames: Path) -> str:
    return record.path.relative_to(frames).as_posix()
