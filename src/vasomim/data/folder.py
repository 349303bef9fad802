"""Folders of frames, with or without a folder of masks beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vasomim.data.boxes import TABLE, FrameNote, read_boxes, with_patients
from vasomim.data.frames import read_frame, read_mask, read_record
from vasomim.data.listing import check_size, holds_frames, list_frames, make_records, no_frame, require_layout, some
from vasomim.errors import DataError
from vasomim.types import Record, Sample

MASK_FOLDERS = ("masks", "labels", "gt", "annotations")
"""Names of a folder of masks beside images/; the first that holds pictures is taken."""


class FrameList:
    """Unlabelled frames by their records."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        return Sample(record, read_record(record))


class FolderDataset(FrameList):
    """Unlabelled frames of a folder and all its sub-folders, in natural order (frame 2 before frame 10).

    An id is the path below the folder without suffix; where frames differ by nothing but the suffix, they keep it.
    """

    def __init__(self, root: Path | str) -> None:
        """List the frames; no pixel is read.

        Raises:
            MisuseError: missing, or without any frame.
        """
        root = Path(root)
        super().__init__(make_records(list_frames(root), root if root.is_dir() else root.parent, root))
        if not self.records:
            raise no_frame(root)


class MaskedFolderDataset:
    """Frames below images/ with masks of the same name below masks/ (or labels/, gt/, annotations/).

    Names are compared without suffix. Patients and boxes are read from boxes.csv where there is one.
    """

    def __init__(self, root: Path | str) -> None:
        """Pair frames and masks; no pixel is read.

        Raises:
            MisuseError: missing folder, no frame, or another layout; sub-folders of this layout are named.
            DataError: frames without mask, masks without frame, two masks for one frame, or a broken boxes.csv.
        """
        root = require_layout(Path(root), is_masked_folder, "images/ and masks/ in it")
        frames, folder = root / "images", mask_folder(root)
        assert folder is not None
        masks = _by_stem(folder)
        notes = read_boxes(root / TABLE) if (root / TABLE).is_file() else {}
        self.records: Sequence[Record] = with_patients(make_records(list_frames(frames), frames, root), frames, notes)
        if not self.records:
            raise no_frame(frames)
        _check_pairs([record.id for record in self.records], masks, root, folder.name)
        self._masks = [masks[record.id] for record in self.records]
        self._notes: list[FrameNote | None] = [
            notes.get(record.path.relative_to(frames).as_posix()) for record in self.records
        ]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record, path, note = self.records[index], self._masks[index], self._notes[index]
        image, mask = read_frame(record.path), read_mask(path)
        check_size(image.shape, mask.shape, record.path, f"its mask {path}")
        return Sample(record, image, mask=mask, boxes=note.boxes if note else ())


def mask_folder(root: Path) -> Path | None:
    """The folder of masks beside images/, if there is one."""
    return next((root / name for name in MASK_FOLDERS if holds_frames(root / name)), None)


def is_masked_folder(root: Path) -> bool:
    """Whether `root` has images/ and a folder of masks."""
    return (root / "images").is_dir() and mask_folder(root) is not None


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in list_frames(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise DataError(f"two masks for {stem}: {files[stem]} and {path}; keep one")
        files[stem] = path
    return files


def _check_pairs(frames: Sequence[str], masks: dict[str, Path], root: Path, folder: str) -> None:
    known = set(frames)
    unmasked = [name for name in frames if name not in masks]
    unframed = [name for name in masks if name not in known]
    found = [f"{len(unmasked)} frame(s) without mask ({some(unmasked)})"] if unmasked else []
    found += [f"{len(unframed)} mask(s) without frame ({some(unframed)})"] if unframed else []
    if found:
        raise DataError(
            f"{root}: {' and '.join(found)}; images/ and {folder}/ must hold the same names, suffix aside: "
            "add what is missing or remove the odd ones"
        )
