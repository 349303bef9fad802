"""Folders of frames, with or without a folder of masks beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from vasomim.data.boxes import FrameNote, notes_beside, with_patients
from vasomim.data.frames import is_frame, read_record
from vasomim.data.listing import check_size, holds_frames, list_readable, make_records, no_frame, require_layout, some
from vasomim.data.mask_files import MaskFiles, MaskPlace, is_mask_file
from vasomim.data.mask_levels import LostLevels
from vasomim.data.runs import expand_runs
from vasomim.errors import DataError
from vasomim.types import Record, Sample

MASK_FOLDERS = ("masks", "labels", "gt", "annotations")
"""Names of a folder of masks beside images/; the first that holds masks is taken."""
_log = logging.getLogger(__name__)


class UnlabelledDataset:
    """Unlabelled frames by their records."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        return Sample(record, read_record(record))


class MaskedFolderDataset:
    """Frames below images/ with masks of the same name below masks/ (or labels/, gt/, annotations/).

    Names are compared without suffix. Patients and boxes are read from boxes.csv where there is one. Frames may be
    DICOM files: those frames of a run are taken that have a mask, see `vasomim.data.mask_files`.
    """

    def __init__(self, root: Path | str) -> None:
        """Pair frames and masks; no pixel is read.

        Raises:
            MisuseError: missing folder, no frame, or another layout; sub-folders of this layout are named.
            DataError: frames (runs) without mask, masks without frame, two masks for one frame, or a broken boxes.csv.
        """
        root = require_layout(Path(root), is_masked_folder, "images/ and masks/ in it")
        frames, folder = root / "images", mask_folder(root)
        assert folder is not None
        masks = MaskFiles(folder)
        notes = notes_beside(frames)
        listed = make_records(list_readable(frames, is_frame=is_frame), frames, root)
        if not listed:
            raise no_frame(frames, dicom=True)
        records = expand_runs(with_patients(listed, frames, notes))
        places = masks.of_frames(records, {record.path: record.id for record in listed})
        self.records: Sequence[Record] = [record for record in records if record.id in places]
        in_runs = any(record.frame is not None for record in records)
        _check_pairs(_unmasked(records, places), masks.unused(places.values()), root, folder.name, in_runs=in_runs)
        _report_unmasked_frames(len(records) - len(self.records))
        self._lost = LostLevels()
        self._masks = [places[record.id] for record in self.records]
        self._notes: list[FrameNote | None] = [
            notes.get(record.path.relative_to(frames).as_posix()) for record in self.records
        ]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record, place, note = self.records[index], self._masks[index], self._notes[index]
        name = str(place.path) if record.frame is None else f"the mask of {record.id}"
        image, mask = read_record(record), place.read(name, self._lost)
        check_size(image.shape, mask.shape, record.shown, f"its mask {name}" if record.frame is None else name)
        return Sample(record, image, mask=mask, boxes=note.boxes if note else ())


def mask_folder(root: Path) -> Path | None:
    """The folder of masks beside images/, if there is one."""
    return next((root / name for name in MASK_FOLDERS if holds_frames(root / name, is_mask_file)), None)


def is_masked_folder(root: Path) -> bool:
    """Whether `root` has images/ and a folder of masks."""
    return (root / "images").is_dir() and mask_folder(root) is not None


def _unmasked(records: Sequence[Record], places: Mapping[str, MaskPlace]) -> list[str]:
    """Ids of frames without mask; of runs, of which a few frames may be labelled, those without any."""
    labelled = {record.path for record in records if record.id in places}
    missing = [record for record in records if record.path not in labelled]
    return list(dict.fromkeys(record.id.removesuffix(f"/{(record.frame or 0) + 1:04d}") for record in missing))


def _report_unmasked_frames(count: int) -> None:
    if count:
        _log.warning("%d frame(s) of DICOM runs have no mask and are left out", count)


def _check_pairs(
    unmasked: Sequence[str], unframed: Sequence[str], root: Path, folder: str, *, in_runs: bool = False
) -> None:
    """Raise DataError where frames lack masks or masks frames; those of runs are not named, as names may be private."""
    found = [f"{len(unmasked)} frame(s) without mask ({some(unmasked)})"] if unmasked else []
    if unframed:
        found.append(f"{len(unframed)} mask(s) without frame" + ("" if in_runs else f" ({some(unframed)})"))
    wanted = "masks of a run are called <run>/0001.png and so on, or are a segmentation that refers to it; " * in_runs
    if found:
        raise DataError(
            f"{root}: {' and '.join(found)}; images/ and {folder}/ must hold the same names, suffix aside: "
            f"{wanted}name masks as their frames, add what is missing or remove the odd ones"
        )
