"""From paths to frames: what lies there is recognised by its layout."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vasomim.data.arcade import ArcadeDataset, is_arcade_folder
from vasomim.data.boxes import FrameNote, is_boxes_folder, notes_beside
from vasomim.data.dicom.directory import is_dicomdir, referenced_files
from vasomim.data.folder import MaskedFolderDataset, UnlabelledDataset, is_masked_folder
from vasomim.data.frame_list import is_frame_list, read_frame_list
from vasomim.data.frames import is_frame
from vasomim.data.listing import (
    first_frame,
    list_readable,
    make_records,
    may_be_named,
    no_frame,
    require_layout,
    sub_folders,
)
from vasomim.data.nnunet import IMAGES, NnUNetDataset, is_nnunet_folder, name_cases
from vasomim.data.packed import HEAD, PLAN, PackDataset, is_pack
from vasomim.data.runs import expand_runs
from vasomim.data.samples import FrameDataset, concatenate
from vasomim.data.sibling_vessels import is_vessel_folder
from vasomim.errors import MisuseError
from vasomim.types import Record

OUTPUT_MARKERS = ("extraction.json", "run.json", "predictions.json", "evaluation.json", HEAD, PLAN)
"""Files that say that a folder was made by this software; its pictures are no frames."""

_log = logging.getLogger(__name__)


def open_frames(paths: Iterable[Path | str], frames: str | None = None, *, subtract: bool = False) -> FrameDataset:
    """Frames without their labels, from files, lists of files, packs, and folders of any layout, sub-folders included.

    Of a labelled set (images/ beside masks, annotations or boxes.csv; imagesTr/ of nnU-Net) the images alone are taken;
    labels are never read, but the patients of boxes.csv are kept for patient-wise splits. Folders made by this software
    and vessels beside their frames (NAME_frangi/ beside NAME/) are left out unless named. A file reached twice is taken
    once.

    A text file (.txt) lists frames, see `vasomim.data.frame_list`: they have the ids that they have in their folder.

    Ids are paths below the named folder without suffix (below its images/, where all frames lie there); named files
    count as one set below their common folder. Where sets share an id, see `vasomim.data.samples.concatenate`.

    DICOM files, with or without suffix, give a frame for each of theirs, see `vasomim.data.runs.expand_runs`; a
    DICOMDIR that is named gives those of the files it lists.

    Args:
        paths: files and folders.
        frames: which frames of each DICOM run: a number, a slice as in Python, or `best`; None for all.
        subtract: DICOM frames less their masks, where their files recommend that.

    Raises:
        MisuseError: no path, a missing one, a folder without frames, a list that names what is not there, or `frames`
            that cannot be understood.
        MissingExtraError: there are DICOM files, and what reads them is not installed.
        DataError: a broken boxes.csv or DICOMDIR.
    """
    named = [Path(path) for path in paths]
    packs = [PackDataset(path) for path in named if is_pack(path)]
    named = [path for path in named if not is_pack(path)]
    lists = [path for path in named if is_frame_list(path)]
    files = [path for path in named if path.is_file() and path not in lists]
    groups = [(path, frame_files(path)) for path in named if not path.is_file()]
    groups += [group for path in lists for group in read_frame_list(path).items()]
    groups += [(path.parent, referenced_files(path)) for path in files if is_dicomdir(path)]
    files = [path for path in files if not is_dicomdir(path)]
    if files:
        groups.append((Path(os.path.commonpath([path.parent for path in files])), files))
    for root, found in groups:
        if not found:
            raise no_frame(root, dicom=True)
    if len(groups) > 1 or lists:
        groups = _without_repeats(groups)
    listed = [UnlabelledDataset(_records(root, found)) for root, found in groups if found]
    # All runs together, as files of one patient may lie in several folders.
    records = concatenate(listed).records if listed or not packs else []
    records = expand_runs(records, frames, subtract=subtract, named=set(files))
    return concatenate([*packs, UnlabelledDataset(records)] if records else packs)


def frame_files(root: Path, wanted: Callable[[Path], bool] | None = None) -> list[Path]:
    """Files that `open_frames` takes for frames in a folder, in its order; `wanted` asks for others at the same places.

    Raises:
        MisuseError, DataError: as `list_frames`.
    """
    outputs: list[Path] = []

    def enter(folder: Path) -> Path | None:
        if _marker(folder):
            outputs.append(folder)
        return _enter(folder)

    found = list_readable(_enter(root) or root, enter, wanted or is_frame)
    _report_outputs(root, outputs, found)
    return found


def _report_outputs(root: Path, outputs: Sequence[Path], found: Sequence[Path]) -> None:
    """Say which folders with frames were left out: others, too, may call a file run.json."""
    first = {folder: frame for folder in outputs if (frame := first_frame(folder, is_frame))}
    if first:
        folder = next(iter(first))
        shown = folder.relative_to(root).as_posix() if may_be_named([*found, *first.values()]) else "*"
        message = (
            "%s: %d folder(s) with frames were left out, as a file in them says that this software made them, e.g. "
            "%s/%s; to take their frames, name them or rename that file"
        )
        _log.warning(message, root, len(first), shown, _marker(folder))


def open_labelled(paths: Iterable[Path | str], rasteriser: str = "arcade-official") -> FrameDataset:
    """Frames with vessel masks, from folders with images/ and masks/, in the layouts of ARCADE and nnU-Net, or packs.

    Args:
        paths: folders; each is one set. A folder that merely holds such sets is refused, its sets are named.
        rasteriser: how polygons become masks, see `vasomim.data.polygons.rasterise`.

    Raises:
        MisuseError: no path, a missing one, another layout, or a set without vessel labels.
        DataError: labels that cannot be used, see the readers.
    """
    return concatenate([_open_labelled_set(Path(path), rasteriser) for path in paths])


def labelled_sets(root: Path) -> list[Path]:
    """Folders that `open_labelled` takes for sets, the root itself or those down to three levels below it."""
    return [folder for folder in (root, *sub_folders(root, 3)) if _is_labelled(folder)]


def _open_labelled_set(root: Path, rasteriser: str) -> FrameDataset:
    if is_pack(root):
        return _open_labelled_pack(root, rasteriser)
    require_layout(root, _is_labelled, "images/ and masks/, images/ and annotations/*.json, or imagesTr/ and labelsTr/")
    if is_nnunet_folder(root):
        return NnUNetDataset(root)
    if not is_arcade_folder(root):
        return MaskedFolderDataset(root)
    if is_masked_folder(root):
        raise MisuseError(f"{root} holds both a folder of masks and annotations/*.json; move one of them away")
    dataset = ArcadeDataset(root, rasteriser)
    if not dataset.has_vessels:
        raise MisuseError(
            f"{root} outlines stenoses, not vessels; name a set with vessel labels (it can serve as unlabelled frames)"
        )
    return dataset


def _open_labelled_pack(root: Path, rasteriser: str) -> FrameDataset:
    dataset = PackDataset(root, labels=True)
    if dataset.settings.labels != rasteriser:
        raise MisuseError(
            f"{root} was packed with rasteriser {dataset.settings.labels}, asked for {rasteriser}; ask for that one, "
            "or pack the labelled folder again"
        )
    return dataset


def _is_labelled(root: Path) -> bool:
    return is_arcade_folder(root) or is_masked_folder(root) or is_nnunet_folder(root)


def _enter(folder: Path) -> Path | None:
    """Of a labelled set its images alone; nothing of what this software or a filter wrote."""
    if _marker(folder) or is_vessel_folder(folder):
        return None
    if is_nnunet_folder(folder):
        return folder / IMAGES
    labelled = (folder / "images").is_dir() and (_is_labelled(folder) or is_boxes_folder(folder))
    return folder / "images" if labelled else folder


def _marker(folder: Path) -> str:
    """The file that says that this software made a folder, empty where there is none."""
    return next((marker for marker in OUTPUT_MARKERS if (folder / marker).is_file()), "")


def _records(root: Path, paths: Sequence[Path]) -> list[Record]:
    folders = [root / name for name in ("images", IMAGES)]
    base = next((folder for folder in folders if all(folder in path.parents for path in paths)), root)
    tables: dict[Path, dict[str, FrameNote]] = {}
    return [
        dataclasses.replace(record, patient=_patient(path, tables))
        for record, path in zip(name_cases(make_records(paths, base, root)), paths, strict=True)
    ]


def _patient(path: Path, tables: dict[Path, dict[str, FrameNote]]) -> str | None:
    """Patient of a frame below an images/ folder with a boxes.csv beside it; each table is read once."""
    for folder in path.parents:
        if folder.name == "images":
            if folder not in tables:
                tables[folder] = notes_beside(folder)
            note = tables[folder].get(path.relative_to(folder).as_posix())
            return note.patient if note else None
    return None


def _without_repeats(groups: Sequence[tuple[Path, list[Path]]]) -> list[tuple[Path, list[Path]]]:
    seen: set[str] = set()
    kept = []
    for root, paths in groups:
        fresh = {os.path.realpath(path): path for path in paths}
        kept.append((root, [path for real, path in fresh.items() if real not in seen]))
        seen |= fresh.keys()
    repeats = sum(len(paths) for _, paths in groups) - len(seen)
    if repeats:
        _log.warning("%d frame(s) were named more than once and are taken once", repeats)
    return kept
