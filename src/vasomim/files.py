"""Files and folders that are whole or absent, and what is asked of names and folders that others made.

Until it is whole, each is called `.HASH.PID` beside its place: a hash, as a name that is legal may leave no room for an
addition, and the number of its writer, so that what a killed one left can be told from what is being written.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from vasomim.errors import LongNameError, MisuseError, WriteError

_BESIDE = re.compile(r"\.[0-9a-f]{16}\.(\d+)")
_LOCK = ".lock"
"""Of a folder that one process at a time may write."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what keeps a file or folder from being written.

    Raises:
        LongNameError: it cannot be called that.
        WriteError: anything else, for example that the disk is full.
    """
    try:
        yield
    except OSError as error:
        what = f"cannot write {path}: {error.strerror or error}"
        if error.errno == errno.ENAMETOOLONG:
            raise LongNameError(f"{what}; shorten it or its folders' names") from error
        raise WriteError(f"{what}; free some space or choose another folder") from error


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name once it is complete and on the disk, or not at all.

    Missing folders are made.

    Args:
        path: where it appears.
        durable: wait for the disk, so that a power failure leaves no half file either. Thousands of pictures that can
            be made again need not.

    Raises:
        LongNameError, WriteError: as `writing`; what was there is untouched.
    """
    beside = _beside(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            beside.replace(path)
        finally:
            with suppress(OSError):  # the error that brought us here says more
                beside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file in one step: a reader sees the old one or the whole new one. Arguments, errors: see `whole_file`."""
    with whole_file(path, durable=durable) as file:
        file.write(content)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file in one step; as `write_whole`."""
    write_whole(path, printable(text).encode(), durable=durable)


def printable(text: str) -> str:
    """Text that any file and terminal takes: bytes of file names that are no UTF-8 are spelled out, as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextmanager
def whole_folder(out: Path, *, replace: bool = False, durable: bool = True) -> Iterator[Path]:
    """A folder to fill, which becomes `out` once all of it is there, or not at all.

    What killed writers of `out` left beside it goes first.

    Args:
        out: missing or empty, or a folder to `replace`.
        replace: take the place of a folder that holds something, too.
        durable: wait for the disk, as `whole_file`; for thousands of files that is long.

    Raises:
        MisuseError: `out` is a file, or holds something and is not to be replaced.
        LongNameError, WriteError: as `writing`; what was there is untouched.
    """
    place = out.resolve()  # a link stays, and `.` has a name
    stage = _beside(place)
    with writing(out):
        _clear_beside(place)
        refuse_filled(out, replace=replace)  # after what a killed writer had moved aside is back
        try:
            stage.mkdir(parents=True)
            yield stage
            if durable:
                _sync_all(stage)
            _take_place(stage, place, replace)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def refuse_filled(out: Path, *, replace: bool = False) -> None:
    """Refuse a place that is not free for a folder, before there is work to lose.

    Raises:
        MisuseError: it is a file, or a folder that holds something and is not to be replaced.
    """
    if out.exists() and not out.is_dir():
        raise MisuseError(f"{out} is a file; choose another --out")
    if not replace and out.exists() and any(out.iterdir()):
        raise MisuseError(f"{out} is not empty; choose another --out")


def _take_place(stage: Path, out: Path, replace: bool) -> None:
    """Make a folder `out`; an older one steps aside, since no folder can be renamed over another."""
    aside = _aside(out)
    if out.exists() and replace:
        out.rename(aside)
    elif out.exists():
        out.rmdir()
    try:
        stage.rename(out)
        sync_folder(out.parent)
    finally:
        _settle(aside, out)


def _settle(aside: Path, out: Path) -> None:
    """What stepped aside goes once another stands in its place, else it comes back."""
    if out.exists():
        shutil.rmtree(aside, ignore_errors=True)
    elif aside.exists():
        aside.rename(out)


def _clear_beside(out: Path) -> None:
    """Remove what killed writers of a folder left beside it, and bring back what had stepped aside for them."""
    _settle(_aside(out), out)
    for left in out.parent.glob(f"{_hidden(out)}.*"):
        if _is_left(left.name) or left == _beside(out):  # ours by number alone: numbers come again
            shutil.rmtree(left, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove the files and folders below a folder that killed processes left half written."""
    for inside, folders, names in os.walk(folder):
        for name in filter(_is_left, names):
            with suppress(OSError):
                Path(inside, name).unlink()
        for name in filter(_is_left, folders):
            shutil.rmtree(Path(inside, name), ignore_errors=True)


def _hidden(path: Path) -> str:
    return f".{hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}"


def _beside(path: Path) -> Path:
    return path.with_name(f"{_hidden(path)}.{os.getpid()}")


def _aside(path: Path) -> Path:
    """Where an old folder waits; without a number, as it is whole and must outlive a killed process."""
    return path.with_name(f"{_hidden(path)}.old")


def _is_left(name: str) -> bool:
    """Whether something is called as what a process that is gone was writing."""
    found = _BESIDE.fullmatch(name)
    return found is not None and not _runs(int(found[1]))


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


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, where the system can."""
    if sys.platform != "win32":
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_all(folder: Path) -> None:
    """Bring a folder and all below it to the disk, where the system can."""
    if sys.platform != "win32":
        for inside, _, names in os.walk(folder):
            for path in (*(Path(inside, name) for name in names), Path(inside)):
                _sync(path)


def make_folder(folder: Path) -> None:
    """Make a folder, if it is missing, and find out that files can be written there before there is work to lose.

    Raises:
        LongNameError, WriteError: they cannot.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def take_folder(folder: Path) -> IO[str]:
    """Hold a folder for this process until the file that comes back is closed, or the process ends, however it ends.

    Raises:
        MisuseError: another process holds it.
        LongNameError, WriteError: nothing can be written there.
    """
    with writing(folder / _LOCK):
        file = (folder / _LOCK).open("a", encoding="utf-8")
    if sys.platform == "win32":
        return file
    import fcntl

    try:
        # A POSIX lock, for data workers must not inherit it: one left behind would keep the folder shut.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise MisuseError(
            f"another process is writing {folder}; wait for it to end, stop it, or choose another --out"
        ) from None
    return file


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


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
