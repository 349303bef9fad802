"""Pictures for `fuzz.py` that are made to do harm: sizes that nothing backs, and few bytes that stand for many."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import cache


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def _png(width: int, height: int, rows: bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


@cache
def _bomb() -> bytes:
    deflate = zlib.compressobj(6)
    return _png(22_000, 22_000, b"".join(deflate.compress(bytes(22_001)) for _ in range(22_000)) + deflate.flush())


def hostile_png(_: bytes) -> Iterable[bytes]:
    """Sizes that nothing backs, and a whole picture of 484 million pixels in half a megabyte."""
    for side in (40_000, 65_536, 2**31 - 1, 0):
        yield _png(side, side, zlib.compress(b"\0" * 100))
    yield _bomb()


def hostile_jpeg(content: bytes) -> Iterable[bytes]:
    """The largest size that a JPEG can claim; a second header of another size behind the first."""
    at = content.index(b"\xff\xc0")
    for height, width in ((65_535, 65_535), (65_500, 8_000), (0, 32), (24, 0)):
        yield content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]
    frame = content[at : at + 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]]
    yield content[:at] + frame + frame[:5] + struct.pack(">HH", 60_000, 60_000) + frame[9:] + content[at + len(frame) :]


def hostile_bmp(content: bytes) -> Iterable[bytes]:
    """Sizes that nothing backs, negative ones, and runs of pixels that go on for ever."""
    for width, height in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (32, -(2**31)), (-32, 24), (0, 0)):
        yield content[:18] + struct.pack("<ll", width, height) + content[26:]
    packed = bytearray(content)
    packed[30:34] = struct.pack("<L", 1)  # 8 bits in runs
    yield bytes(packed[:54]) + b"\xff\x01" * 4000


def _tiff(width: int, height: int, strips: bytes, compression: int = 8) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(strips))]
    table = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    directory = struct.pack("<H", len(entries)) + table + struct.pack("<L", 0)
    return b"II*\0" + struct.pack("<L", 8 + len(strips)) + strips + directory


def hostile_tiff(content: bytes) -> Iterable[bytes]:
    """Sizes that nothing backs, a strip that grows a thousandfold, and directories that go round in circles."""
    for side in (50_000, 2**31 - 1, 2**32 - 1):
        yield _tiff(side, side, b"\0" * 10)
    yield _tiff(20_000, 20_000, zlib.compress(bytes(50_000_000)))
    looped = bytearray(_tiff(32, 24, zlib.compress(bytes(32 * 24))))
    looped[-4:] = looped[4:8]  # the next page is this one
    yield bytes(looped)
    entries = bytearray(content)
    at = struct.unpack("<L", content[4:8])[0]
    entries[at : at + 2] = b"\xff\xff"
    yield bytes(entries)


def hostile_pgm(_: bytes) -> Iterable[bytes]:
    """Sizes that nothing backs, in the ways in which they can be written."""
    for side in (30_000, 2**31 - 1, 10**9, 10**30):
        for head in ("P5 {0} {0} 255\n", "P5\n# 4 4\n{0}\t{0}\n65535\n", "P2 {0} {0} 255\n", "P4 {0} {0}\n"):
            yield head.format(side).encode() + b"\x7f" * 100
    yield b"P5 " + b"#" * 100_000 + b"\n4 4 255\n" + b"\x7f" * 16


def hostile_webp(content: bytes) -> Iterable[bytes]:
    """The largest sizes that a WebP can claim."""
    at = content.index(b"VP8")
    for side in (0x3FFF, 0):
        if content[at : at + 4] == b"VP8L":
            bits = struct.pack("<L", struct.unpack("<L", content[at + 9 : at + 13])[0] | side | side << 14)
            yield content[: at + 9] + bits + content[at + 13 :]
        else:
            yield content[: at + 14] + struct.pack("<HH", side, side) + content[at + 18 :]
    wide = b"VP8X" + struct.pack("<L", 10) + b"\0\0\0\0" + b"\xff\xff\xff" * 2
    yield b"RIFF" + struct.pack("<L", len(wide) + 4) + b"WEBP" + wide


def hostile_npy(_: bytes) -> Iterable[bytes]:
    """Shapes that nothing backs, types that would run code, headers that are no headers."""
    shapes = [
        "(10**9,)",
        "(1000000000, 1000000000)",
        "(-1, 4)",
        "(4.5, 2)",
        "(" * 400,
        "()",
        "(0, 5)",
        "[4, 4]",
        "None",
    ]
    for shape in shapes:
        for kind in ("<f8", "|O", "<U100000000", "V4", ">u2"):
            header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
            yield b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64
    yield b"\x93NUMPY\x02\x00" + struct.pack("<L", 2**32 - 1) + b"{"
    yield b"\x93NUMPY\x09\x00\x10\x00" + b"{}" * 8
