"""Where in a file the bytes of each frame lie, found without reading them."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from vasomim.data.dicom.elements import BadElement

Extent = tuple[int, int]
"""Position and length in bytes of something in a file."""
MAX_FRAGMENTS = 1 << 20
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
"""First bytes of a JPEG or JPEG-LS and of a JPEG 2000 picture."""


def native_extents(
    at: int, claimed: int | None, file_size: int, frame_bytes: int, num_frames: int
) -> tuple[list[tuple[Extent]], int]:
    """One extent a frame of uncompressed pixels, and how many whole frames lie behind the last one claimed.

    Args:
        at: position of the first byte.
        claimed: bytes that the file says there are.
        file_size: bytes there are.
        frame_bytes: bytes of a frame.
        num_frames: how many.

    Raises:
        BadElement: fewer bytes than the frames need.
    """
    if claimed is None:
        raise BadElement("its pixels are compressed, its transfer syntax says they are not")
    there = min(file_size - at, claimed)
    if there < frame_bytes * num_frames:
        raise BadElement(
            f"truncated: {num_frames} frame(s) need {frame_bytes * num_frames} bytes of pixels, there are {there}; "
            "copy it again, or correct NumberOfFrames"
        )
    surplus = there - frame_bytes * num_frames
    left_out = surplus // frame_bytes if surplus > 1 else 0  # one byte makes an odd number of them even
    return [((at + k * frame_bytes, frame_bytes),) for k in range(num_frames)], left_out


def encapsulated_extents(path: Path, at: int, num_frames: int) -> tuple[list[tuple[Extent, ...]], int]:
    """The fragments of each frame of compressed pixels, by jumping from item to item (PS3.5 A.4).

    With them, how many frames lie behind a single one that is claimed; behind several, fragments too many are an error.

    Raises:
        BadElement: truncated, damaged, or fragments that cannot be told to frames.
    """
    with path.open("rb") as file:
        file.seek(at)
        table = _offset_table(file)
        base = file.tell()
        fragments, starts = _fragments(file)
    if num_frames == 1 and fragments:
        return [tuple(fragments[: starts[1]] if len(starts) > 1 else fragments)], max(0, len(starts) - 1)
    if len(fragments) == num_frames:
        return [(extent,) for extent in fragments], 0
    if len(fragments) < num_frames:
        raise BadElement(f"truncated: {num_frames} frames are claimed, {len(fragments)} are there")
    first = _by_table(fragments, [base + offset for offset in table]) if len(table) == num_frames else starts
    if len(first) != num_frames or first[0] != 0:
        raise BadElement(f"{len(fragments)} fragments of compressed pixels cannot be told to {num_frames} frames")
    return [tuple(fragments[a:b]) for a, b in zip(first, [*first[1:], len(fragments)], strict=True)], 0


def read_extents(path: Path, extents: Sequence[Extent], limit: int) -> bytes:
    """The bytes of a frame, at most `limit`.

    Raises:
        BadElement: more bytes than a frame can need, or the file has become shorter.
        OSError: it cannot be read.
    """
    if sum(length for _, length in extents) > limit:
        raise BadElement(f"takes more than {limit} bytes, twice its uncompressed size: damaged")
    parts = []
    with path.open("rb") as file:
        for at, length in extents:
            file.seek(at)
            parts.append(file.read(length))
    if [len(part) for part in parts] != [length for _, length in extents]:
        raise BadElement("truncated: a frame ends before its last byte")
    return b"".join(parts)


def _offset_table(file: BinaryIO) -> list[int]:
    """The basic offset table, the first item; may be empty."""
    length = _next_item(file)
    if length is None or length % 4 or length > 4 * MAX_FRAGMENTS:
        raise BadElement("the table of frame offsets is damaged")
    content = file.read(length)
    if len(content) != length:
        raise BadElement("truncated within the table of frame offsets")
    return list(struct.unpack(f"<{length // 4}L", content))


def _fragments(file: BinaryIO) -> tuple[list[Extent], list[int]]:
    """All fragments from the current position on, and the numbers of those that start a picture."""
    end = os.fstat(file.fileno()).st_size
    found: list[Extent] = []
    starts: list[int] = []
    while (length := _next_item(file)) is not None:
        at = file.tell()
        if at + length > end:
            raise BadElement(f"truncated: {at + length - end} bytes of its compressed pixels are missing")
        if len(found) == MAX_FRAGMENTS:
            raise BadElement(f"more than {MAX_FRAGMENTS} fragments of compressed pixels")
        if file.read(min(length, 4)).startswith(_STARTS):
            starts.append(len(found))
        found.append((at, length))
        file.seek(at + length)
    return found, starts


def _next_item(file: BinaryIO) -> int | None:
    """Length of the item that starts here; None at the end of the items, or where the file ends between two."""
    head = file.read(8)
    if not head:
        return None
    if len(head) < 8:
        raise BadElement("truncated within its compressed pixels")
    group, element, length = struct.unpack("<HHL", head)
    tag = group << 16 | element
    if tag == _END:
        return None
    if tag != _ITEM or length == 0xFFFFFFFF:
        raise BadElement("its compressed pixels are damaged: no item where one should start")
    return int(length)


def _by_table(fragments: Sequence[Extent], offsets: Sequence[int]) -> list[int]:
    """Numbers of the fragments that start at `offsets`, the positions of their tags."""
    number = {at - 8: k for k, (at, _) in enumerate(fragments)}
    first = [number.get(offset, -1) for offset in offsets]
    return first if all(a < b for a, b in pairwise([-1, *first])) else []
