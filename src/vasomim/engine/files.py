"""Files that are whole or absent."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vasomim.errors import VasomimError


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, making missing folders: a reader sees the old file or the whole new one.

    Raises:
        VasomimError: it cannot be written, for example because the disk is full; what was there is untouched.
    """
    write_bytes(path, printable(text).encode())


def printable(text: str) -> str:
    """Text that any file and terminal takes: bytes of file names that are no UTF-8 are spelled out, as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


def make_folder(folder: Path) -> None:
    """Make a folder, if it is missing, and find out that files can be written there before there is work to lose.

    Raises:
        VasomimError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise VasomimError(f"cannot write in {folder}: {error.strerror or error}; choose another folder") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write any file in one step; as `write_text`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise VasomimError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        ) from error
