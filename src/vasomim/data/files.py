"""Files that are whole or absent."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vasomim.errors import DataError, MisuseError


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
