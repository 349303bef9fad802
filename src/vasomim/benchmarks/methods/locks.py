"""File locks by which lanes that share a folder keep out of each other's way; a lock goes with who holds it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

Lock = IO[str]


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[Lock | None]:
    """The lock at `path` for the length of the block; None where another process holds it and we do not wait.

    The file stays: taking it away while another opens it would give two processes a lock each. On Windows nothing is
    locked, and lanes must not share a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if sys.platform == "win32":
            yield file
            return
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield file


def is_claimed(path: Path) -> bool:
    """Whether another process holds the lock at `path`."""
    if not path.is_file():
        return False
    with claimed(path) as lock:
        return lock is None
