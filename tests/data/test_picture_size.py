"""The size a picture claims: as Pillow reads it, and believed before anything is allocated."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vasomim.data.frames import read_frame
from vasomim.data.picture_size import jpeg_header, picture_size
from vasomim.errors import DataError

FORMATS = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"big_tiff": True}),
    ("PPM", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}),
]


@pytest.mark.parametrize(("kind", "options"), FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (37, 20), (300, 700)])
def test_picture_size__as_pillow_reads_it(kind: str, options: dict[str, object], size: tuple[int, int]) -> None:
    made = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0]), 100, np.uint8)).save(made, kind, **options)
    assert picture_size(made.getvalue()) == size


def test_picture_size__other_ways_to_write_it() -> None:
    assert picture_size(b"P2 # a comment\n# 9 9\n 7\t5\n255\n" + b"1 " * 35) == (7, 5)
    assert picture_size(b"BM" + b"\0" * 12 + struct.pack("<LHH", 12, 6, 4)) == (6, 4)
    assert picture_size(b"BM" + b"\0" * 12 + struct.pack("<Lll", 40, 6, -4)) == (6, 4)
    big_endian = io.BytesIO()
    Image.fromarray(np.zeros((9, 5), ">u2")).save(big_endian, "TIFF")
    assert picture_size(big_endian.getvalue()) == (5, 9)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP"])
def test_picture_size__cut_anywhere(kind: str) -> None:
    made = io.BytesIO()
    Image.fromarray(np.full((20, 37), 100, np.uint8)).save(made, kind)
    for length in range(len(made.getvalue())):
        assert picture_size(made.getvalue()[:length]) in (None, (37, 20))


def test_picture_size__of_no_picture() -> None:
    for content in (
        b"",
        b"P5",
        b"BM",
        b"RIFF1234AVI ",
        b"\xff\xd8\xff\xff\xff\xff",
        b"GIF89a",
        b"II*\0\xff\xff\xff\xff",
    ):
        assert picture_size(content) is None
    assert jpeg_header(b"\xff\xd8") is None


def test_read_frame__a_few_bytes_that_stand_for_gigabytes(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    pages = {"a.png": bomb, "b.pgm": b"P5 30000 30000 255\n" + b"1" * 99, "c.tif": _tiff(2**31 - 1)}
    for name, content in pages.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} says it has \d+ x \d+ pixels; need 1 to 33554432"):
            read_frame(tmp_path / name)


def _tiff(side: int) -> bytes:
    entries = [struct.pack("<HHLL", tag, 4, 1, side) for tag in (256, 257)]
    return b"II*\0" + struct.pack("<LH", 8, 2) + b"".join(entries) + b"\0" * 4


def test_read_frame__npy_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64)
    with pytest.raises(DataError, match=r"a\.npy: damaged or not of numpy\.save \(1000000000000 values"):
        read_frame(tmp_path / "a.npy")


def test_read_frame__a_file_larger_than_any_frame(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 30)  # takes no place on the disk
    with pytest.raises(DataError, match=r"a\.png has 1024 MiB, a frame at most 512"):
        read_frame(tmp_path / "a.png")


def test_read_frame__a_tiff_whose_height_is_a_text(tmp_path: Path) -> None:
    """Pillow raised TypeError here, behind OpenCV, which decoded it."""
    cv2.imwrite(str(tmp_path / "a.tif"), np.full((24, 32), 100, np.uint16))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    at = content.index(struct.pack("<HH", 257, 3))
    content[at + 2] = 2
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot decode .*a\.tif"):
        read_frame(tmp_path / "a.tif")
