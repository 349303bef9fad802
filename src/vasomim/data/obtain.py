"""A data set by name: its files fetched and checked, unpacked into one folder, and a note of what they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.download import Progress, fetch, figshare_files
from vasomim.data.registry import Archive, DatasetCard
from vasomim.data.unpack import SUFFIXES, unpack
from vasomim.errors import MisuseError
from vasomim.files import whole_folder, write_text


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of a data set on this disk."""

    archive: Archive
    path: Path
    sha256: str

    @property
    def checked(self) -> bool:
        """Whether a published hash vouches for it; else its own hash is all there is."""
        return self.archive.sha256 is not None or self.archive.md5 is not None


def obtain(
    card: DatasetCard,
    out: Path,
    start: Callable[[str], Progress] | None = None,
    find: Callable[[int], Sequence[Archive]] = figshare_files,
) -> tuple[Path, list[Fetched]]:
    """Fetch a data set and unpack it into OUT/NAME; the files fetched stay in OUT/NAME.files, with a note.

    A call that was stopped goes on; files that are whole are not fetched again.

    Args:
        card: The data set.
        out: Folder of data sets.
        start: Called with the name of each file before it is fetched or unpacked; gives what to tell of its progress.
        find: Lists the files of an article of figshare.com.

    Returns:
        The folder, and what was fetched.

    Raises:
        MisuseError: the set has no public address, or OUT/NAME holds something already.
        DataError, WriteError: as `fetch` and `unpack`.
    """
    if not card.downloadable:
        raise MisuseError(f"{card.name} has no address to fetch it from: {card.obtain}; see {card.page}")
    folder, files = out / card.name, out / f"{card.name}.files"
    if folder.exists() and any(folder.iterdir()):
        raise MisuseError(f"{folder} is not empty; choose another --out, or check it: --verify {card.name} {folder}")
    archives = card.archives or tuple(find(card.figshare or 0))
    fetched = []
    for archive in archives:
        progress = start(archive.file) if start is not None else None
        fetched.append(Fetched(archive, files / archive.file, fetch(archive, files, progress)))
    _assemble(fetched, folder, start)
    _write_note(card, fetched, files / "source.json")
    return folder, fetched


def _assemble(fetched: Sequence[Fetched], folder: Path, start: Callable[[str], Progress] | None) -> None:
    """Unpack a single archive into the folder; of several files each archive into a folder of its own."""
    if len(fetched) == 1 and _is_archive(fetched[0].path):
        _unpack(fetched[0].path, folder, start)
        return
    with whole_folder(folder, durable=False) as stage:
        for item in fetched:
            if _is_archive(item.path):
                _unpack(item.path, stage / item.path.name.split(".")[0], start)
            else:
                shutil.copyfile(item.path, stage / item.path.name)


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _unpack(archive: Path, folder: Path, start: Callable[[str], Progress] | None) -> None:
    unpack(archive, folder, start(f"unpacking {archive.name}") if start is not None else None)


def _write_note(card: DatasetCard, fetched: Sequence[Fetched], path: Path) -> None:
    """What was fetched from where, its hashes, and whose it is."""
    note = {
        "name": card.name,
        "title": card.title,
        "licence": card.licence or "none stated",
        "citation": card.citation,
        "page": card.page,
        "files": [
            {
                "file": item.archive.file,
                "url": item.archive.url,
                "sha256": item.sha256,
                "checked_against": next((n for n in ("sha256", "md5") if getattr(item.archive, n)), None),
            }
            for item in fetched
        ],
    }
    write_text(path, json.dumps(note, indent=2, ensure_ascii=False) + "\n")
