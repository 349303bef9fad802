"""Extracted vessels that lie beside the frames, as in XA-170K: NAME_frangi/ holds a mask for each frame of NAME/."""

from __future__ import annotations

from pathlib import Path

from vasomim.data.extraction import MARKER, VesselStore
from vasomim.data.frames import read_mask
from vasomim.errors import DataError, MisuseError
from vasomim.types import BoolImage, Record

SUFFIX = "_frangi"
"""As the authors of VasoMIM call it; the filter in it is whatever its maker used."""


class SiblingVessels:
    """Masks in NAME_frangi/ for frames in NAME/, under the same file name or the same with another suffix."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that holds pairs of NAME/ and NAME_frangi/.

        Raises:
            MisuseError: it holds no such pair.
        """
        self.folder = folder
        self.description = f"masks in NAME{SUFFIX}"
        """What is known of their making."""
        if not has_sibling_vessels(folder):
            raise MisuseError(f"{folder} holds no pair of folders NAME/ and NAME{SUFFIX}/; name the folder above them")

    def __contains__(self, record: Record) -> bool:
        """Whether the frame has a mask here."""
        return self._path(record) is not None

    def load(self, record: Record) -> BoolImage:
        """The vessel map of a frame: bool (H, W) at the frame's native size.

        Raises:
            DataError: there is none.
        """
        path = self._path(record)
        if path is None:
            beside = record.path.parent.with_name(record.path.parent.name + SUFFIX)
            raise DataError(f"no extracted vessels for {record.path} in {beside}; copy them again from their source")
        return read_mask(path)

    def _path(self, record: Record) -> Path | None:
        folder = record.path.parent.with_name(record.path.parent.name + SUFFIX)
        same = folder / record.path.name
        png = same.with_suffix(".png")
        return next((path for path in (same, png) if path.is_file()), None)


def has_sibling_vessels(folder: Path) -> bool:
    """Whether some NAME_frangi/ lies beside its NAME/ in the folder."""
    return any(is_vessel_folder(path) for path in folder.glob(f"*{SUFFIX}"))


def is_vessel_folder(folder: Path) -> bool:
    """Whether a folder holds vessels of the frames beside it, and so no frames."""
    name = folder.name.removesuffix(SUFFIX)
    return name not in ("", folder.name) and folder.with_name(name).is_dir()


def open_vessels(folder: Path) -> VesselStore | SiblingVessels:
    """Extracted vessels: a folder of `vasomim extract`, or one with pairs of NAME/ and NAME_frangi/.

    Raises:
        MisuseError: it is neither.
    """
    if not (folder / MARKER).is_file() and has_sibling_vessels(folder):
        return SiblingVessels(folder)
    return VesselStore(folder)
