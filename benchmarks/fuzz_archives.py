"""Archives for `fuzz.py`, honest ones and such as are made to do harm."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from functools import cache


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def tar_of(members: Sequence[tuple[str, bytes]], mode: str = "w", link: str = "") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if link:
                info.type, info.linkname, info.size = tarfile.SYMTYPE, link, 0
            archive.addfile(info, io.BytesIO(content) if not link else None)
    return made.getvalue()


OUTSIDE = ("../escaped", "/tmp/escaped", "a/../../escaped", "..\\escaped", "C:\\escaped", "a\0b", "//host/escaped", "")


@cache
def hostile_zips() -> tuple[bytes, ...]:
    """Members that lead out, that grow a thousandfold, that are many, that are links."""
    return tuple(_zips())


@cache
def hostile_tars() -> tuple[bytes, ...]:
    """The same of tar archives."""
    return tuple(_tars())


def _zips() -> Iterable[bytes]:
    for name in OUTSIDE[:-1]:
        yield zip_of({"ok": b"1", name: b"2"})
    yield zip_of({"a": bytes(100_000_000)})
    yield zip_of({f"{n}": b"" for n in range(5_000)})
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(link, "/etc")
        archive.writestr("link/passwd", "x")
    yield made.getvalue()


def _tars() -> Iterable[bytes]:
    for name in OUTSIDE[:-1]:
        yield tar_of([("ok", b"1"), (name, b"2")])
    yield tar_of([("link", b"")], link="/etc")
    yield tar_of([("link", b"")], link="../..")
    huge = bytearray(tar_of([("a", b"x")]))
    huge[124:136] = b"77777777777\0"  # eight gigabytes claimed
    yield bytes(huge)
    yield gzip.compress(bytes(100_000_000))


def hostile_zip(content: bytes) -> Iterable[bytes]:
    """A compressed archive, one whose members claim other sizes, one of many members."""
    yield zip_of({"w/data.pkl": bytes(100_000)})
    at = content.rindex(b"PK\x01\x02")
    yield content[: at + 20] + struct.pack("<LL", 2**32 - 2, 2**32 - 2) + content[at + 28 :]
    yield content[: at + 42] + struct.pack("<L", 2**31) + content[at + 46 :]
    yield from hostile_zips()
