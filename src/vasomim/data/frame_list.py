"""Text files that list frames: which of a folder's are to be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vasomim.errors import DataError, MisuseError
from vasomim.files import is_file, printable

SUFFIX = ".txt"
COMMENT = "#"
HERE = "./"
"""Set before a name that would be read as a comment, or lose its leading space."""
ROOT_MARK = "/"
"""A line that ends in it names the folder below which the following lines lie."""


def is_frame_list(path: Path) -> bool:
    """Whether a path is a list of frames rather than a frame or a folder."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def read_frame_list(path: Path) -> dict[Path, list[Path]]:
    """Frames of a list by the folder they are listed under, in the list's order.

    One path a line; empty lines and lines that start with # are skipped (`./#1.png` is a frame). A line that ends in /
    names a folder, and the lines below it lie in it; folders, and lines above any, are taken from where the list is.

    Raises:
        MisuseError: unreadable, nothing listed, or a frame is not there.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read the list of frames {path}: {error}") from error
    root = path.parent
    listed: dict[Path, list[Path]] = {}
    for line in lines:
        if not line or line.startswith(COMMENT):
            continue
        if line.endswith(ROOT_MARK):
            root = path.parent / line
        else:
            listed.setdefault(root, []).append(root / line)
    missing = [frame for frames in listed.values() for frame in frames if not is_file(frame)]
    if missing:
        raise MisuseError(f"{path} lists {len(missing)} file(s) that are not there, first {missing[0]}; write it anew")
    if not listed:
        raise MisuseError(f"{path} lists no frame; write one path a line")
    return listed


def frame_list_text(kept: Mapping[Path, Sequence[Path]], place: Path, comment: str) -> str:
    """Text of a list of frames by folder, to be written to `place`, where `read_frame_list` reads it back.

    Folders beside or below the list are named from there, so that they can move together, others in full.

    Raises:
        DataError: a name that no line of text can hold.
    """
    lines = [f"{COMMENT} {comment}"]
    here = place.absolute().parent
    for root, frames in kept.items():
        full = root.absolute()
        shown = full.relative_to(here) if full.is_relative_to(here) else full
        lines.append(_line(shown.as_posix().rstrip("/") + ROOT_MARK))
        lines += [_line(frame.relative_to(root).as_posix()) for frame in frames]
    return "\n".join(lines) + "\n"


def _line(name: str) -> str:
    """A name as a line that is read back as that name."""
    if "\n" in name or name != name.rstrip() or printable(name) != name:
        raise DataError(
            f"{printable(name)!r} cannot be a line of a list of frames; rename it, to UTF-8 without line breaks"
        )
    return HERE + name if name.startswith(COMMENT) or name != name.lstrip() else name
