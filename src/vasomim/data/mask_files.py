"""Which mask belongs to which frame: pictures by their names, DICOM segmentations by the run that they refer to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.dicom.elements import uid
from vasomim.data.dicom.parsing import quiet
from vasomim.data.dicom.run import cached_run
from vasomim.data.dicom.segmentation import read_segmentation
from vasomim.data.frames import above_half, is_picture, is_run, mask_values, read_channels
from vasomim.data.listing import RUN_SUFFIXES, list_frames
from vasomim.data.mask_levels import LostLevels
from vasomim.errors import DataError, MisuseError
from vasomim.types import BoolImage, Record


@dataclass(frozen=True, slots=True)
class MaskPlace:
    """Where the mask of a frame is."""

    path: Path
    frame: int | None = None
    """Of a DICOM segmentation: the frame of the run, from 0; None for a picture."""

    def read(self, name: str, lost: LostLevels) -> BoolImage:
        """The mask (H, W).

        Args:
            name: what messages call it, as its path may name a patient.
            lost: is shown the values of a picture, to warn of levels that do not count.

        Raises:
            MisuseError, DataError: it cannot be read.
        """
        if self.frame is not None:
            return read_segmentation(self.path, name).mask(self.frame)
        try:
            values = mask_values(read_channels(self.path))
        except (DataError, MisuseError) as error:
            raise type(error)(str(error).replace(str(self.path), name)) from None
        lost.look(values, name)
        return above_half(values)


def is_mask_file(path: Path) -> bool:
    """Whether a file may hold masks: a picture or, by its name and content, a DICOM segmentation."""
    return is_picture(path) or is_segmentation(path)


def is_segmentation(path: Path) -> bool:
    """Whether a file among masks is DICOM and called so, or has no suffix."""
    return path.suffix.lower() in {*RUN_SUFFIXES, ""} and is_run(path)


class MaskFiles:
    """The masks below a folder."""

    def __init__(self, folder: Path) -> None:
        """List them, and read what the DICOM segmentations among them refer to.

        Raises:
            DataError: two masks for one frame, or a segmentation that cannot be read.
        """
        self.pictures: dict[str, MaskPlace] = {}
        self._runs: dict[str, tuple[Path, frozenset[int]]] = {}
        files = list_frames(folder, is_frame=is_mask_file)
        for path in filter(is_picture, files):
            self._add_picture(path.relative_to(folder).with_suffix("").as_posix(), path)
        for position, path in enumerate((path for path in files if not is_picture(path)), 1):
            self._add_segmentation(path, f"segmentation {position} in {folder}")

    def of_frames(self, records: Sequence[Record], files: Mapping[Path, str]) -> dict[str, MaskPlace]:
        """The masks of those of the frames that have one, by their ids.

        Args:
            records: frames.
            files: what each DICOM file is called below the folder of the frames, without suffix. A frame of a run is
                looked for as `<run>/0001` and `<run>_0001`, by this name and by the one in its id.
        """
        counts = Counter(record.path for record in records)
        found = {}
        for record in records:
            names = _names(record, files[record.path], several=counts[record.path] > 1)
            place = next((self.pictures[name] for name in names if name in self.pictures), None)
            place = place or self._in_segmentation(record)
            if place is not None:
                found[record.id] = place
        return found

    def unused(self, used: Iterable[MaskPlace]) -> list[str]:
        """Masks that belong to no frame, by their names in the folder."""
        taken = {place.path for place in used}
        others = [path.name for path, _ in self._runs.values() if path not in taken]
        return [name for name, place in self.pictures.items() if place.path not in taken] + others

    def _add_picture(self, stem: str, path: Path) -> None:
        if stem in self.pictures:
            raise DataError(f"two masks for {stem}: {self.pictures[stem].path} and {path}; keep one")
        self.pictures[stem] = MaskPlace(path)

    def _add_segmentation(self, path: Path, name: str) -> None:
        found = read_segmentation(path, name)
        if found.instance in self._runs:
            raise DataError(f"{name} is of the same run as another one; keep one of them")
        self._runs[found.instance] = path, frozenset(found.places)

    def _in_segmentation(self, record: Record) -> MaskPlace | None:
        if record.frame is None or not self._runs:
            return None
        path, frames = self._runs.get(_instance(record), (Path(), frozenset()))
        return MaskPlace(path, record.frame) if record.frame in frames else None


def _instance(record: Record) -> str:
    """UID by which segmentations refer to a record's file; empty where it has none or cannot be read."""
    try:
        run = cached_run(record.path, record.shown, subtract=record.subtract)
    except DataError:
        return ""
    with quiet():
        return uid(run.dataset, "SOPInstanceUID") or uid(run.dataset.file_meta, "MediaStorageSOPInstanceUID")


def _names(record: Record, file: str, *, several: bool) -> Iterator[str]:
    """What the mask of a frame may be called."""
    yield record.id
    if record.frame is None:
        return
    if not several:
        yield file
        return
    number = f"{record.frame + 1:04d}"
    yield f"{file}/{number}"
    for base in (file, record.id.rpartition("/")[0]):
        yield f"{base}_{number}"
