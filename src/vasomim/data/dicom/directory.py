"""DICOMDIR: the table of contents of a medium."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from vasomim.data.dicom.elements import BadElement, Dataset, code, items, value_of
from vasomim.data.dicom.parsing import is_dicom, quiet, read_whole
from vasomim.errors import DataError

_log = logging.getLogger(__name__)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is a table of contents; the standard gives it its name (PS3.10 8.6)."""
    return path.name.upper() == "DICOMDIR" and is_dicom(path)


def referenced_files(path: Path) -> list[Path]:
    """The image files that a DICOMDIR lists, in its order, below its own folder; missing ones are counted and left out.

    Raises:
        DataError: it is damaged, or none of its files is there.
    """
    dataset = read_whole(path, str(path))
    try:
        with quiet():
            records = items(dataset, "DirectoryRecordSequence")
            names = [_parts(record) for record in records if code(record, "DirectoryRecordType") == "IMAGE"]
    except BadElement as error:
        raise DataError(f"{path}: {error}") from None
    files = [_find(path.parent, parts) for parts in names if parts]
    found = list(dict.fromkeys(file for file in files if file is not None))
    if not found:
        raise DataError(f"none of the {len(files)} image file(s) listed in {path} is there; copy the whole medium")
    if len(found) < len(files):
        _log.warning("%d of %d files listed in %s are missing", len(files) - len(found), len(files), path)
    return found


def _parts(record: Dataset) -> Sequence[str]:
    """Folders and name of the file a record stands for; none where it stands for no file of this medium."""
    value = value_of(record, "ReferencedFileID")
    if value is None:
        return ()
    parts = [value] if isinstance(value, str) else [str(part) for part in value]
    leads_out = any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts)
    return () if leads_out else parts


def _find(folder: Path, parts: Sequence[str]) -> Path | None:
    """The file, in whatever case the medium's copy spells it."""
    for part in parts:
        exact = folder / part
        if exact.exists():
            folder = exact
            continue
        spelled = [entry for entry in _entries(folder) if entry.name.casefold() == part.casefold()]
        if not spelled:
            return None
        folder = spelled[0]
    return folder if folder.is_file() else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
