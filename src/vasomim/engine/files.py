"""Files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

from vasomim.errors import VasomimError


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, making missing folders: a reader sees the old file or the whole new one.

    Raises:
        VasomimError: it cannot be written, for example because the disk is full; what was there is untouched.
    """
    write_bytes(path, text.encode())


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
