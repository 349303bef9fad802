"""What a file is by its first bytes, whatever its name says."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = {
    "PNG": {".png"},
    "JPEG": {".jpg", ".jpeg"},
    "BMP": {".bmp"},
    "TIFF": {".tif", ".tiff"},
    "PNM": {".pgm", ".ppm", ".pnm", ".pbm"},
    "WebP": {".webp"},
    "NumPy": {".npy"},
    "GIF": {".gif"},
    "JPEG 2000": {".jp2", ".j2k"},
    "DICOM": {".dcm", ".dicom", ".ima", ""},
}
"""Suffixes that go with a content, in lower case; the first is the usual one."""
HEAD = 132
"""Bytes that are enough to tell."""


def codec_of(head: bytes) -> str | None:
    """Name of the content that starts with `head`, a key of SUFFIXES; None if it is none of them."""
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PNM"
    if head[:2] == b"BM" and head[6:10] != bytes(4):
        return None  # a text that starts with these two letters
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)


def read_head(path: Path) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


_MARKS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\x93NUMPY": "NumPy",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
