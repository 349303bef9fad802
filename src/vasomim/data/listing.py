"""Finding frames on disk: which files, in which order, under which ids. No pixel is read."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from vasomim.data.frames import FRAME_SUFFIXES, is_picture, is_run
from vasomim.errors import DataError, MisuseError, first_few
from vasomim.types import Record

RUN_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima"})
"""What DICOM files may be called, if they have a suffix at all."""
UNREAD_SUFFIXES = frozenset({
    ".gif", ".jp2", ".j2k", ".jpx", ".jpf", ".jls", ".jxl", ".jfif", ".jpe", ".heic", ".heif", ".avif", ".ppm", ".pbm",
    ".pnm", ".tga", ".pcx", ".psd", ".exr", ".nii", ".mha", ".nrrd", ".avi", ".mp4", ".m4v", ".mov", ".mkv", ".wmv",
    ".mpg", ".mpeg", ".webm", ".flv", ".ogv",
})  # fmt: skip
"""Pictures and films of types that are not read, compared in lower case: they are to be missed, not passed over."""
Enter = Callable[[Path], Path | None]
"""What to list in place of a folder: itself, a folder in it, or nothing."""
_log = logging.getLogger(__name__)


def list_frames(
    root: Path, enter: Enter = lambda folder: folder, is_frame: Callable[[Path], bool] = is_picture
) -> list[Path]:
    """Frame files of a folder and its sub-folders, in natural order, files before folders; a file stands for itself.

    Hidden files and folders are left out. Links are followed, loops of links are not.

    Args:
        root: folder or file.
        enter: what to list in place of a folder.
        is_frame: which files count.

    Raises:
        MisuseError: there is no such file or folder.
        DataError: a folder cannot be listed.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise MisuseError(f"no such file or folder: {root}")
    return list(_walk(root, enter, is_frame, set()))


def list_readable(
    root: Path, enter: Enter = lambda folder: folder, is_frame: Callable[[Path], bool] = is_picture
) -> list[Path]:
    """As `list_frames`, with a warning where pictures or films of types that are not read are left out."""
    unread: list[Path] = []

    def taken(path: Path) -> bool:
        if is_frame(path):
            return True
        if path.suffix.lower() in UNREAD_SUFFIXES:
            unread.append(path)
        return False

    found = list_frames(root, enter, taken)
    if unread:
        shown = unread[0].relative_to(root).as_posix() if may_be_named(found) else f"*{unread[0].suffix}"
        message = "%s: %d file(s) of types that are not read were left out, e.g. %s; convert them to PNG"
        _log.warning(message, root, len(unread), shown)
    return found


def may_be_named(files: Iterable[Path]) -> bool:
    """Whether messages may repeat what lies around these files: beside DICOM, folders and files may name patients."""
    return not any(map(is_run, files))


def _walk(folder: Path, enter: Enter, is_frame: Callable[[Path], bool], seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    inner = []
    for entry in _entries(folder):
        if entry.is_dir():
            inner.append(folder / entry.name)
        elif is_frame(folder / entry.name):
            yield folder / entry.name
    for path in inner:
        chosen = enter(path)
        if chosen is not None:
            yield from _walk(chosen, enter, is_frame, seen)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}; check its permissions") from error
    return sorted(shown, key=lambda entry: natural_key(entry.name))


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key in which numbers count as numbers: frame_2 before frame_10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", text))], text


def make_records(paths: Iterable[Path], base: Path, source: Path) -> list[Record]:
    """Records in the order of `paths`.

    An id is the path below `base` without suffix, POSIX style; frames that differ by their suffix alone keep it.
    """
    names = [PurePosixPath(path.relative_to(base).as_posix()) for path in paths]
    stems = Counter(_stem(name) for name in names)
    return [
        Record(str(name if stems[_stem(name)] > 1 else _stem(name)), base / name, None, str(source)) for name in names
    ]


def _stem(name: PurePosixPath) -> PurePosixPath:
    """Without suffix, if it is one: the last part of a UID that serves as a file's name is none."""
    return name.with_suffix("") if name.suffix.lower() in FRAME_SUFFIXES | RUN_SUFFIXES else name


def holds_frames(folder: Path, is_frame: Callable[[Path], bool] = is_picture) -> bool:
    """Whether there is a frame in the folder or below it."""
    return first_frame(folder, is_frame) is not None


def first_frame(folder: Path, is_frame: Callable[[Path], bool] = is_picture) -> Path | None:
    """A frame in the folder or below it, if there is one."""
    return next(_walk(folder, lambda inner: inner, is_frame, set()), None) if folder.is_dir() else None


def require_layout(root: Path, fits: Callable[[Path], bool], wanted: str) -> Path:
    """The folder itself if it has the wanted layout.

    Raises:
        MisuseError: missing, not a folder, or another layout; sub-folders that have it are named, so that nobody
            trains on a validation set merged in unseen.
    """
    if not root.exists():
        raise MisuseError(f"no such folder: {root}")
    if not root.is_dir():
        raise MisuseError(f"{root} is a file; need a folder with {wanted}")
    if fits(root):
        return root
    inner = [str(folder) for folder in sub_folders(root, 3) if fits(folder)]
    if inner:
        raise MisuseError(f"{root} is no labelled set itself but holds some; name those you mean: {', '.join(inner)}")
    raise MisuseError(f"{root} is no labelled set; need a folder with {wanted}")


def sub_folders(root: Path, depth: int) -> Iterator[Path]:
    """Folders below a folder, down to a depth, hidden ones left out."""
    for entry in _entries(root):
        if entry.is_dir():
            yield root / entry.name
            if depth > 1:
                yield from sub_folders(root / entry.name, depth - 1)


def check_size(frame: tuple[int, ...], other: tuple[int, ...], path: Path | str, what: str) -> None:
    """Raise DataError unless the frame at `path` and `what` have the same (H, W)."""
    if frame != other:
        raise DataError(
            f"{path} is {frame[1]} x {frame[0]} pixels but {what} is {other[1]} x {other[0]}; "
            "they must be equal: pair them anew or make one again from the other"
        )


def no_frame(folder: Path, *, dicom: bool = False) -> MisuseError:
    """The error for a folder without any frame; `dicom` where DICOM files would do too."""
    known = " ".join(sorted(suffix[1:] for suffix in FRAME_SUFFIXES))
    return MisuseError(f"no frame in {folder}; need files of type {known}{', or DICOM' if dicom else ''}")


def some(names: Iterable[str], limit: int = 5) -> str:
    """The first few names in natural order and how many more, for messages."""
    return first_few(sorted(names, key=natural_key), limit)
