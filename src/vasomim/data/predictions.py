"""Folders of predicted masks, paired with labelled frames by id or by stem."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vasomim.data.frames import read_pixels
from vasomim.data.listing import list_frames, some
from vasomim.errors import DataError, MisuseError
from vasomim.types import BoolImage, Record


class PredictedMasks:
    """One predicted mask for each frame, read when asked for."""

    def __init__(self, folder: Path, records: Sequence[Record]) -> None:
        """Pair masks and frames; no pixel is read.

        A mask belongs to the frame with the same path below the folder, without suffix; where folders differ, the
        longest common end of both paths decides, down to the stem alone. In a folder made by `vasomim predict` the
        masks lie below masks/. Masks of other frames are left alone.

        Raises:
            MisuseError: there is no such folder.
            DataError: the folder holds no mask, none fits, some are missing, or one fits several frames.
        """
        if not folder.is_dir():
            raise MisuseError(f"no such folder of predictions: {folder}")
        self.folder = folder / "masks" if (folder / "masks").is_dir() else folder
        paths = list_frames(self.folder)
        if not paths:
            raise DataError(f"no mask in {self.folder}; need PNG files (0/255) named like the frames")
        self.paths: Mapping[str, Path] = _pair(records, self.folder, paths)

    def load(self, record: Record) -> BoolImage:
        """The mask of a frame: bool (H, W), non-zero is vessel.

        Raises:
            DataError: unreadable, or more than two grey levels, as in a map of probabilities.
        """
        path = self.paths[record.id]
        pixels = read_pixels(path)
        levels = np.unique(pixels)
        if levels.size > 2 or (levels.size == 2 and levels[0] != 0):
            raise DataError(
                f"{path} holds {levels.size} grey levels from {levels[0]} to {levels[-1]}; a predicted mask holds 0 "
                "and one other value: threshold the probabilities first"
            )
        return np.asarray(pixels != 0, dtype=np.bool_)


def _pair(records: Sequence[Record], folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    by_end: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        for end in _ends(path.relative_to(folder).with_suffix("").as_posix()):
            by_end[end].append(path)
    found = {record.id: _candidates(record.id, by_end) for record in records}
    missing = [name for name, candidates in found.items() if not candidates]
    if len(missing) == len(records):
        raise DataError(
            f"no mask in {folder} is named like a frame: masks are {some([path.stem for path in paths], 2)}, "
            f"frames {some([record.id for record in records], 2)}; name each mask as its frame"
        )
    if missing:
        raise DataError(
            f"{len(missing)} of {len(records)} frames have no mask in {folder}: {some(missing)}; predict them too, "
            "with an all-zero mask where nothing was found"
        )
    _check_unambiguous(found)
    return {name: candidates[0] for name, candidates in found.items()}


def _candidates(name: str, by_end: Mapping[str, list[Path]]) -> list[Path]:
    """Masks with the longest common path end."""
    return next((by_end[end] for end in _ends(name) if end in by_end), [])


def _check_unambiguous(found: Mapping[str, Sequence[Path]]) -> None:
    for name, candidates in found.items():
        if len(candidates) > 1:
            raise DataError(
                f"{len(candidates)} masks could belong to frame {name}: {some([str(p) for p in candidates], 2)}; "
                "keep one, in the same sub-folder as the frame"
            )
    shared, count = Counter(candidates[0] for candidates in found.values()).most_common(1)[0]
    if count > 1:
        names = [name for name, candidates in found.items() if candidates[0] == shared]
        raise DataError(f"{shared} fits {count} frames: {some(names, 2)}; put the masks in sub-folders as the frames")


def _ends(name: str) -> list[str]:
    """`a/b/c` -> `a/b/c`, `b/c`, `c`."""
    parts = PurePosixPath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]
