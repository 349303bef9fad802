"""Public data sets brought from their publishers' layouts into those that the readers know: images/, masks/, boxes.csv.

Files are linked where the disk can, else copied; originals stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.boxes import TABLE, Corners, boxes_table
from vasomim.data.groups import repeated
from vasomim.data.listing import natural_key, some
from vasomim.data.registry import DatasetCard
from vasomim.errors import DataError, MisuseError
from vasomim.files import refuse_filled, whole_folder

XML_LIMIT = 2**20


@dataclass(frozen=True, slots=True)
class Case:
    """A frame to take along."""

    name: str
    """Path below images/, suffix included."""
    frame: Path
    mask: Path | None = None
    patient: str | None = None
    boxes: tuple[Corners, ...] = ()


def arrange(card: DatasetCard, folder: Path, out: Path) -> int:
    """Write a data set into a new folder in a layout of ours, all of it or nothing.

    Args:
        card: The data set.
        folder: Where it lies as published, or a folder above.
        out: New folder.

    Returns:
        Number of frames.

    Raises:
        MisuseError: the set needs no arranging or cannot be, or `out` holds something.
        DataError: no labelled frame is found, two share a name, or labels cannot be read.
        WriteError: nothing can be written.
    """
    if card.name not in ARRANGERS:
        raise MisuseError(f"{card.name} cannot be arranged, only {', '.join(ARRANGERS)}; what reads it: {card.reader}")
    if not folder.is_dir():
        raise MisuseError(f"no such folder: {folder}")
    refuse_filled(out)
    cases = sorted(ARRANGERS[card.name](folder), key=lambda case: natural_key(case.name))
    if not cases:
        raise DataError(f"no labelled frame of {card.name} in {folder}; give the folder as it was published")
    twice = repeated([case.name for case in cases])
    if twice:
        raise DataError(f"{folder} holds frames of one name: {some(twice)}")
    with whole_folder(out, durable=False) as stage:
        for case in cases:
            _place(case.frame, stage / "images" / case.name)
            if case.mask is not None:
                _place(case.mask, stage / "masks" / Path(case.name).with_suffix(case.mask.suffix))
        if any(case.patient for case in cases):
            rows = ((case.name, case.patient, case.boxes) for case in cases)
            (stage / TABLE).write_text(boxes_table(rows), encoding="utf-8")
    return len(cases)


def _place(source: Path, target: Path) -> None:
    """A hard link, or a copy on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _dca1(folder: Path) -> Iterator[Case]:
    """Masks lie beside their frames: N.pgm and N_gt.pgm."""
    for mask in folder.rglob("*_gt.pgm"):
        frame = mask.with_name(f"{mask.stem.removesuffix('_gt')}.pgm")
        if frame.is_file():
            yield Case(frame.name, frame, mask)


def _xcav(folder: Path) -> Iterator[Case]:
    """PATIENT/ground_truth/RUN/FRAME.png beside PATIENT/images/RUN/FRAME.png; runs named ...CATH show the catheter."""
    for mask in folder.rglob("ground_truth/*/*.png"):
        run, patient = mask.parent.name, mask.parents[2].name
        frame = mask.parents[2] / "images" / run / mask.name
        if not run.endswith("CATH") and frame.is_file():
            yield Case(f"{run}/{mask.name}", frame, mask, patient)


def _danilov(folder: Path) -> Iterator[Case]:
    """FRAME.bmp beside FRAME.xml (Pascal VOC); the first two numbers of a name are the patient, as 14_024_2_0042."""
    for label in folder.rglob("*.xml"):
        frame = label.with_suffix(".bmp")
        if frame.is_file():
            patient = "_".join(label.stem.split("_")[:2])
            yield Case(frame.name, frame, None, patient, tuple(_voc_boxes(label)))


def _voc_boxes(path: Path) -> Iterator[Corners]:
    content = path.read_bytes()[: XML_LIMIT + 1]
    if len(content) > XML_LIMIT or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise DataError(f"{path} is no plain annotation of a frame; take the published file")
    try:
        for box in ET.fromstring(content).iter("bndbox"):
            x0, y0, x1, y1 = (float(box.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax"))
            yield x0, y0, x1, y1
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; take the published file") from error


def _cadica(folder: Path) -> Iterator[Case]:
    """selectedVideos/pN/vM/input/FRAME.png, and lines of `x y width height grade` in groundtruth/FRAME.txt."""
    for label in folder.rglob("groundtruth/*.txt"):
        frame = label.parents[1] / "input" / f"{label.stem}.png"
        patient = label.parents[2].name
        if frame.is_file() and re.fullmatch(r"p\d+", patient):
            yield Case(frame.name, frame, None, patient, tuple(_cadica_boxes(label)))


def _cadica_boxes(path: Path) -> Iterator[Corners]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        try:
            x, y, width, height = (float(word) for word in line.split()[:4])
        except ValueError as error:
            raise DataError(f"{path} holds {line!r}; need x, y, width and height in a line") from error
        yield x, y, x + width, y + height


ARRANGERS: dict[str, Callable[[Path], Iterator[Case]]] = {
    "dca1": _dca1,
    "xcav": _xcav,
    "danilov": _danilov,
    "cadica": _cadica,
}
"""How each set is found in its publishers' layout."""
