"""How large a picture says it is, read from its first bytes before a decoder allocates what they ask for."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

Size = tuple[int, int]
"""Width and height."""


class JpegHeader(NamedTuple):
    """What a JPEG or JPEG-LS picture says of itself."""

    lossy: bool
    precision: int
    """Bits a sample."""
    width: int
    height: int
    components: int


_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second byte of the JPEG markers that give the picture's size; F7 is JPEG-LS."""
_LOSSY = {0xC0, 0xC1, 0xC2}
_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P[1-6]" + _SPACE + rb"(\d{1,10})" + _SPACE + rb"(\d{1,10})\s")
_WIDTH_TAG, _HEIGHT_TAG = 256, 257
_SHORT, _LONG = 3, 4


def picture_size(content: bytes) -> Size | None:
    """Width and height of a PNG, JPEG, BMP, TIFF, PBM, PGM, PPM or WebP; None where it is none, or says neither."""
    read = next((read for magic, read in _READERS.items() if content.startswith(magic)), None)
    try:
        return read(content) if read else None
    except (struct.error, IndexError):  # cut off
        return None


def jpeg_header(content: bytes, start: int = 0) -> JpegHeader | None:
    """The frame header of a JPEG or JPEG-LS picture that begins at `start`; None where there is none."""
    at = start + 2
    while at + 10 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length, precision, height, width, components = struct.unpack(">HBHHB", content[at + 2 : at + 10])
        if marker in _JPEG_FRAMES:
            return JpegHeader(marker in _LOSSY, precision, width, height, components)
        at += 2 + length
    return None


def _png(content: bytes) -> Size | None:
    width, height = struct.unpack(">LL", content[16:24])
    return (width, height) if content[12:16] == b"IHDR" else None


def _jpeg(content: bytes) -> Size | None:
    found = jpeg_header(content)
    return (found.width, found.height) if found else None


def _bmp(content: bytes) -> Size:
    """Of today's header, or that of OS/2. A negative height counts rows from above."""
    if struct.unpack("<L", content[14:18])[0] == 12:
        width, height = struct.unpack("<HH", content[18:22])
        return width, height
    width, height = struct.unpack("<ll", content[18:26])
    return abs(width), abs(height)


def _tiff(content: bytes) -> Size | None:
    """Of the first page, by its directory: entries of 12 bytes, or of 20 in a file with 8-byte offsets."""
    order = "<" if content[:2] == b"II" else ">"
    large = struct.unpack(f"{order}H", content[2:4])[0] == 43
    at = struct.unpack(f"{order}Q" if large else f"{order}L", content[8:16] if large else content[4:8])[0]
    count_bytes, step, value_at = (8, 20, 12) if large else (2, 12, 8)
    count = struct.unpack(f"{order}{'Q' if large else 'H'}", content[at : at + count_bytes])[0]
    found = {}
    for place in range(at + count_bytes, min(at + count_bytes + step * count, len(content)), step):
        tag, kind = struct.unpack(f"{order}HH", content[place : place + 4])
        if tag in (_WIDTH_TAG, _HEIGHT_TAG) and kind in (_SHORT, _LONG):
            value = content[place + value_at : place + value_at + (2 if kind == _SHORT else 4)]
            found[tag] = struct.unpack(f"{order}{'H' if kind == _SHORT else 'L'}", value)[0]
    return (found[_WIDTH_TAG], found[_HEIGHT_TAG]) if len(found) == 2 else None


def _netpbm(content: bytes) -> Size | None:
    found = _NETPBM.match(content[:4096])
    return (int(found[1]), int(found[2])) if found else None


def _webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if content[8:12] != b"WEBP":
        return None
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", content[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack("<L", content[21:25])[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    sides = content[24:30]
    if kind != b"VP8X" or len(sides) < 6:
        return None
    return int.from_bytes(sides[:3], "little") + 1, int.from_bytes(sides[3:], "little") + 1


_READERS: dict[bytes, Callable[[bytes], Size | None]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8": _jpeg,
    b"BM": _bmp,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), _netpbm),
    b"RIFF": _webp,
}
"""What reads a kind of picture, by the bytes that it starts with."""
