"""From paths to frames: what lies there is recognised by its layout."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vasomim.data.arcade import ArcadeDataset, is_arcade_folder
from vasomim.data.boxes import TABLE, FrameNote, is_boxes_folder, read_boxes
from vasomim.data.folder import FrameList, MaskedFolderDataset, is_masked_folder
from vasomim.data.frame_list import is_frame_list, read_frame_list
from vasomim.data.listing import is_frame, list_frames, make_records, no_frame, require_layout
from vasomim.data.samples import FrameDataset, concatenate
from vasomim.errors import MisuseError
from vasomim.types import Record

OUTPUT_MARKERS = ("extraction.json", "run.json", "predictions.json", "evaluation.json")
"""Files that say that a folder was made by this software; its pictures are no frames."""

_log = logging.getLogger(__name__)


def open_frames(paths: Iterable[Path | str]) -> FrameDataset:
    """Frames without their labels, from files, lists of files and folders of any layout, sub-folders included.

    Of a labelled set (images/ beside masks, annotations or boxes.csv) the images alone are taken; labels are never
    read, but the patients of boxes.csv are kept for patient-wise splits. Folders made by this software are left out
    unless named. A file reached twice is taken once.

    A text file (.txt) lists frames, see `vasomim.data.frame_list`: they have the ids that they have in their folder.

    Ids are paths below the named folder without suffix (below its images/, where all frames lie there); named files
    count as one set below their common folder. Where sets share an id, see `vasomim.data.samples.concatenate`.

    Raises:
        MisuseError: no path, a missing one, a folder without frames, or a list that names what is not there.
        DataError: a broken boxes.csv.
    """
    named = [Path(path) for path in paths]
    lists = [path for path in named if is_frame_list(path)]
    files = [path for path in named if path.is_file() and path not in lists]
    groups = [(path, frame_files(path)) for path in named if not path.is_file()]
    groups += [group for path in lists for group in read_frame_list(path).items()]
    if files:
        groups.append((Path(os.path.commonpath([path.parent for path in files])), files))
    for root, found in groups:
        if not found:
            raise no_frame(root)
    if len(groups) > 1 or lists:
        groups = _without_repeats(groups)
    return concatenate([FrameList(_records(root, found)) for root, found in groups if found])


def frame_files(root: Path, wanted: Callable[[str], bool] = is_frame) -> list[Path]:
    """Files that `open_frames` takes for frames in a folder, in its order; `wanted` asks for others at the same places.

    Raises:
        MisuseError, DataError: as `list_frames`.
    """
    return list_frames(_enter(root) or root, _enter, wanted)


def open_labelled(paths: Iterable[Path | str], rasteriser: str = "arcade-official") -> FrameDataset:
    """Frames with vessel masks, from folders with images/ and masks/ or in ARCADE's layout.

    Args:
        paths: folders; each is one set. A folder that merely holds such sets is refused, its sets are named.
        rasteriser: how polygons become masks, see `vasomim.data.polygons.rasterise`.

    Raises:
        MisuseError: no path, a missing one, another layout, or a set without vessel labels.
        DataError: labels that cannot be used, see the readers.
    """
    return concatenate([_open_labelled_set(Path(path), rasteriser) for path in paths])


def _open_labelled_set(root: Path, rasteriser: str) -> FrameDataset:
    require_layout(root, _is_labelled, "images/ and masks/, or images/ and annotations/*.json")
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


def _is_labelled(root: Path) -> bool:
    return is_arcade_folder(root) or is_masked_folder(root)


def _enter(folder: Path) -> Path | None:
    """Of a labelled set its images alone; nothing of what this software wrote."""
    if any((folder / marker).is_file() for marker in OUTPUT_MARKERS):
        return None
    labelled = (folder / "images").is_dir() and (_is_labelled(folder) or is_boxes_folder(folder))
    return folder / "images" if labelled else folder


def _records(root: Path, paths: Sequence[Path]) -> list[Record]:
    images = root / "images"
    base = images if all(images in path.parents for path in paths) else root
    tables: dict[Path, dict[str, FrameNote]] = {}
    return [
        dataclasses.replace(record, patient=_patient(path, tables))
        for record, path in zip(make_records(paths, base, root), paths, strict=True)
    ]


def _patient(path: Path, tables: dict[Path, dict[str, FrameNote]]) -> str | None:
    """Patient of a frame below an images/ folder with a boxes.csv beside it; each table is read once."""
    for folder in path.parents:
        if folder.name == "images":
            if folder not in tables:
                table = folder.parent / TABLE
                tables[folder] = read_boxes(table) if table.is_file() else {}
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
