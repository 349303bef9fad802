"""Files that are whole or absent."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vasomim.errors import DataError, MisuseError

_BESIDE = re.compile(r"\..+\.(\d+)")
"""What a file is called until it is whole, here and wherever one is written: its name, or a hash of it, and its
writer's number."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name once it is complete and on the disk, or not at all.

    Raises:
        DataError: it cannot be written, for example because the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror}; free some space and run the same command again"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old one or the whole new one.

    Raises:
        DataError: as `whole_file`.
    """
    with whole_file(path) as file:
        file.write(content)


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, where the system can."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(path: Path, task: str) -> Iterator[None]:
    """Hold an existing file for this process; the system lets go of it when the process ends, however it ends.

    Raises:
        MisuseError: another process holds it, or has removed it meanwhile; `task` says what to wait for.
    """
    busy = MisuseError(f"another process is {task}; wait for it to end, or stop it")
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        raise busy from None
    with file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise busy from None
            if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                raise busy
        yield


def contents(folder: Path) -> list[str]:
    """Sorted names in a folder, none where it is missing; what is hidden does not count.

    Hidden are files that a killed process left half written, and those that systems put anywhere, such as .DS_Store.
    """
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if not name.startswith(".")]


def stays_inside(name: str) -> bool:
    """Whether a relative name from a file that others made stays, on any system, in the folder it is meant for."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] != "" and not re.match(r"[A-Za-z]:", name) and ".." not in parts and "\0" not in name


def is_file(path: Path) -> bool:
    """Whether there is such a file; False also for names that no file can have, such as too long ones."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def clear_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half written: files named `.NAME.PID` whose process is gone."""
    for inside, _, names in os.walk(folder):
        for name in names:
            found = _BESIDE.fullmatch(name)
            if found and not _runs(int(found[1])):
                with suppress(OSError):
                    (Path(inside) / name).unlink()


def _runs(pid: int) -> bool:
    """Whether there is a process of that number; where the system does not tell, there is."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
