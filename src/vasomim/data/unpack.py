"""Unpacking archives that others made: nothing is written outside of the folder, and nothing that fills the disk."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO

from vasomim.errors import DataError
from vasomim.files import refuse_filled, stays_inside, whole_folder

COUNT_LIMIT = 1_000_000
RATIO_LIMIT = 200
"""Bytes out of a byte in, over the whole archive: pictures hardly shrink, bombs shrink a thousandfold."""
FREE_RATIO = 2**26
"""Bytes that may come out whatever the ratio."""
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, RuntimeError, ValueError)
"""What the readers of archives raise where bytes are missing or wrong, or written in a way they do not read, beside
OSError."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of an archive."""

    name: str
    size: int
    handle: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archive: Path, folder: Path, progress: Callable[[int, int], object] | None = None) -> int:
    """Unpack a zip or tar archive into a new folder, all of it or nothing.

    Where everything in the archive lies in one folder, that folder becomes the new one.

    Args:
        archive: Its kind is told by its content.
        folder: New or empty.
        progress: Called with the bytes written and the bytes to write.

    Returns:
        Number of files.

    Raises:
        MisuseError: the folder holds something.
        DataError: no archive or a damaged one, which checksums tell where its kind has some; members that are links or
            devices, or that lie outside of the folder; more than a million files, more bytes than the archive can
            honestly hold, or more than the disk has.
        WriteError: nothing can be written.
    """
    refuse_filled(folder)
    try:
        with _opened(archive) as opened:
            members = _checked(_members(opened, archive), archive)
            _check_space(members, folder)
            total, done, shell = sum(member.size for member in members), 0, _shell(members)
            with whole_folder(folder, durable=False) as stage:
                for member in members:
                    with _stream(opened, member) as stream:
                        done += _write(stream, stage / member.name.removeprefix(shell), member, archive)
                    if progress is not None:
                        progress(done, total)
    except DAMAGED as error:
        raise DataError(f"{archive} cannot be unpacked: {error}; fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror or error}; fetch it again") from error
    return len(members)


def _shell(members: list[_Member]) -> str:
    """The folder that everything in an archive lies in, as `NAME/`; nothing where there is none."""
    tops = {member.name.partition("/")[:2] for member in members}
    name, slash = tops.pop() if len(tops) == 1 else ("", "")
    return name + slash if slash else ""


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield opened
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield tar
    else:
        raise DataError(
            f"{archive} is no zip or tar archive, or a damaged one; fetch it again, or unpack it with the program for "
            "its kind"
        )


def _members(opened: zipfile.ZipFile | tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    """The files of an archive; folders follow from their names."""
    if isinstance(opened, zipfile.ZipFile):
        for entry in opened.infolist():
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise DataError(f"{archive} holds a link, {entry.filename!r}; such an archive is not unpacked")
            if entry.flag_bits & 1:
                raise DataError(f"{archive} is encrypted; unpack it by hand")
            if not entry.is_dir():
                yield _Member(_safe_name(entry.filename, archive), entry.file_size, entry)
        return
    for info in opened:
        if not (info.isreg() or info.isdir()):
            raise DataError(f"{archive} holds a link or device, {info.name!r}; such an archive is not unpacked")
        if info.isreg():
            yield _Member(_safe_name(info.name, archive), info.size, info)
    _check_end(opened, archive)


def _check_end(tar: tarfile.TarFile, archive: Path) -> None:
    """Read a tar archive to its last byte, once all members were listed.

    tarfile takes a damaged header for the end of the archive, and never reads what follows the end, where the checksums
    of gzip, bzip2 and xz stand.
    """
    stream, left = tar.fileobj, _allowed(archive)
    assert stream is not None  # archives that are open have one
    stream.seek(tar.offset)
    mark = stream.read(tarfile.BLOCKSIZE)
    if mark != bytes(tarfile.BLOCKSIZE):
        raise DataError(
            f"{archive} is cut or damaged after {tar.offset} bytes of its content, where neither a file nor the end "
            "mark of tar stands; fetch it again, or make it anew"
        )
    while piece := stream.read(2**20):
        left -= len(piece)
        if left < 0:
            raise DataError(
                f"{archive} goes on long after its end; that is no honest archive: unpack it by hand if you trust it"
            )


def _safe_name(name: str, archive: Path) -> str:
    """The relative path of a member, refused where it would leave the folder on any system."""
    if not stays_inside(name):
        raise DataError(f"{archive} holds {name!r}, which lies outside of the folder; such an archive is not unpacked")
    clean = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    if not clean:
        raise DataError(f"{archive} holds a file without a name; such an archive is not unpacked")
    return clean


def _checked(found: Iterator[_Member], archive: Path) -> list[_Member]:
    """All members, within the limits and without two of one name."""
    members: list[_Member] = []
    total, names, allowed = 0, set(), _allowed(archive)
    for member in found:
        total += member.size
        if len(members) >= COUNT_LIMIT or total > allowed:
            raise DataError(
                f"{archive} would become more than {len(members)} files or {total} bytes from "
                f"{archive.stat().st_size}; that is no honest archive: unpack it by hand if you trust it"
            )
        if member.name in names:
            raise DataError(f"{archive} holds two files called {member.name!r}; unpack it by hand")
        names.add(member.name)
        members.append(member)
    return members


def _allowed(archive: Path) -> int:
    """Bytes that may come out of an archive."""
    return max(FREE_RATIO, RATIO_LIMIT * archive.stat().st_size)


def _check_space(members: list[_Member], folder: Path) -> None:
    here = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    needed, free = sum(member.size for member in members), shutil.disk_usage(here).free
    if needed > free:
        raise DataError(f"unpacking needs {needed / 2**30:.1f} GiB, {here} has {free / 2**30:.1f}; free some space")


@contextmanager
def _stream(opened: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> Iterator[IO[bytes]]:
    if isinstance(opened, zipfile.ZipFile):
        assert isinstance(member.handle, zipfile.ZipInfo)
        with opened.open(member.handle) as stream:
            yield stream
        return
    assert isinstance(member.handle, tarfile.TarInfo)
    tar_stream = opened.extractfile(member.handle)
    assert tar_stream is not None  # regular files have one
    with tar_stream:
        yield tar_stream


def _read(stream: IO[bytes], archive: Path) -> bytes:
    """The next bytes; whoever writes them takes an OSError for one of the disk."""
    try:
        return stream.read(2**20)
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror or error}; fetch it again") from error


def _write(stream: IO[bytes], path: Path, member: _Member, archive: Path) -> int:
    """Write one file, never more than it claimed: a header may lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as file:
        while piece := _read(stream, archive):
            written += len(piece)
            if written > member.size:
                raise DataError(f"{archive}: {member.name} is larger than it claims; such an archive is not unpacked")
            file.write(piece)
    if written != member.size:
        raise DataError(f"{archive}: {member.name} ends after {written} of {member.size} bytes; fetch it again")
    return written
