"""DICOM's run-length encoding (PS3.5 annex G), decoded with a bound: a few bytes can stand for gigabytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.elements import BadElement
from vasomim.data.dicom.layout import PixelLayout

_HEADER = 64


def decode_rle(content: bytes, layout: PixelLayout) -> npt.NDArray[Any]:
    """Stored values of a frame: (H, W), or (H, W, samples) where there are several; unused bits as they are.

    Raises:
        BadElement: damaged or truncated.
    """
    planes = layout.samples * layout.bits_allocated // 8
    size = layout.rows * layout.columns
    joined = np.empty((planes, size), np.uint8)
    for plane, segment in zip(joined, _segments(content, planes), strict=True):
        plane[:] = np.frombuffer(_unpack(segment, size), np.uint8)
    shape = (layout.samples, layout.rows, layout.columns)
    # The planes of a sample come most significant byte first.
    values = joined.reshape(layout.samples, -1, size).transpose(0, 2, 1).copy()
    samples = values.view(f">u{layout.bits_allocated // 8}").reshape(shape)
    native = samples.astype(samples.dtype.newbyteorder("="))
    return native[0] if layout.samples == 1 else np.moveaxis(native, 0, -1)


def _segments(content: bytes, planes: int) -> list[bytes]:
    if len(content) < _HEADER:
        raise BadElement("truncated: a frame ends within its run-length header")
    count, *offsets = struct.unpack(f"<{_HEADER // 4}L", content[:_HEADER])
    ends = [*offsets[1:planes], len(content)]
    if count != planes or any(not _HEADER <= a < b <= len(content) for a, b in zip(offsets, ends, strict=False)):
        raise BadElement(f"a frame holds {count} run-length segments that do not fit it; need {planes}")
    return [content[a:b] for a, b in zip(offsets, ends, strict=False)]


def _unpack(segment: bytes, size: int) -> bytearray:
    """The `size` bytes that a segment stands for; what follows them is padding."""
    found = bytearray()
    at, end = 0, len(segment)
    while len(found) < size and at < end:
        head = segment[at]
        if head < 128:
            found += segment[at + 1 : at + head + 2]
            at += head + 2
        elif head > 128:
            found += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    if len(found) < size:
        raise BadElement(f"truncated: a run-length segment stands for {len(found)} bytes, a frame needs {size}")
    del found[size:]
    return found
