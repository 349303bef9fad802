"""DICOM segmentations, read as the masks of the run that they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vasomim.data.dicom.elements import BadElement, Dataset, code, integer, items, numbers, uid, value_of
from vasomim.data.dicom.layout import MAX_FRAMES, MAX_PIXELS
from vasomim.data.dicom.parsing import in_one_line, quiet, read_whole
from vasomim.types import BoolImage

_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
OPEN_SEGMENTATIONS = 4
"""Files that a process keeps, one bit a pixel."""


@dataclass(frozen=True)
class Segmentation:
    """The masks of frames of one run, packed as the file holds them."""

    instance: str
    """SOP instance UID of the run."""
    rows: int
    columns: int
    places: Mapping[int, int]
    """Frame of the run, from 0 -> place among the masks. Frames without a mask are not among them."""
    packed: bytes
    """One bit a pixel, lowest bit first, frame after frame without a gap (PS3.5 8.1.1)."""

    def mask(self, index: int) -> BoolImage:
        """The mask (H, W) of a frame of the run, from 0.

        Raises:
            KeyError: it has none.
        """
        size = self.rows * self.columns
        first = self.places[index] * size
        content = np.frombuffer(self.packed[first // 8 : (first + size + 7) // 8], np.uint8)
        bits = np.unpackbits(content, bitorder="little")[first % 8 : first % 8 + size]
        return bits.reshape(self.rows, self.columns).astype(np.bool_)


def read_segmentation(path: Path, name: str) -> Segmentation:
    """Read a segmentation of one segment of one run; a file read before and not changed since is not read again.

    Args:
        path: file.
        name: what messages call it.

    Raises:
        MisuseError: there is no such file.
        MissingExtraError: pydicom is not installed.
        DataError: damaged, no segmentation, or one of a kind that is not read.
    """
    with in_one_line(name):
        status = path.stat()
    return _read(path, name, status.st_mtime_ns, status.st_size)


@lru_cache(OPEN_SEGMENTATIONS)
def _read(path: Path, name: str, _modified_ns: int, _size: int) -> Segmentation:
    dataset = read_whole(path, name)
    with in_one_line(name), quiet():
        return _understood(dataset)


def _understood(dataset: Dataset) -> Segmentation:
    _check_kind(dataset)
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    count = integer(dataset, "NumberOfFrames", 1)
    packed = dataset.get("PixelData") or b""
    if not 1 <= rows * columns <= MAX_PIXELS or not 1 <= count <= MAX_FRAMES:
        raise BadElement(f"{count} masks of {columns} x {rows} pixels; need fewer or smaller ones")
    if len(packed) * 8 < count * rows * columns:
        raise BadElement(f"truncated: {count} masks of {columns} x {rows} pixels are claimed; copy it again")
    instances, places = set(), {}
    for place, (instance, frame) in enumerate(_references(dataset, count)):
        instances.add(instance)
        if frame in places:
            raise BadElement(f"holds two masks of frame {frame + 1}; need one")
        places[frame] = place
    if len(instances) != 1:
        raise BadElement(f"refers to {len(instances)} files; need a segmentation of one run")
    return Segmentation(instances.pop(), rows, columns, places, bytes(packed))


def _check_kind(dataset: Dataset) -> None:
    if uid(dataset, "SOPClassUID") != _CLASS:
        raise BadElement("is no DICOM segmentation (SEG); need one, or PNG masks")
    if str(dataset.file_meta.get("TransferSyntaxUID", "")) not in _NATIVE:
        raise BadElement("is a compressed segmentation; export it uncompressed (Explicit VR Little Endian)")
    kind = code(dataset, "SegmentationType")
    if kind != "BINARY" or integer(dataset, "BitsAllocated") != 1:
        raise BadElement(f"is a segmentation of type {kind or 'unknown'}; need BINARY, one bit a pixel")
    segments = len(items(dataset, "SegmentSequence"))
    if segments != 1:
        raise BadElement(f"holds {segments} segments; export that of the vessels alone")


def _references(dataset: Dataset, count: int) -> Iterator[tuple[str, int]]:
    """UID of the source and its frame, from 0, for each mask in the order of the file."""
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    if len(groups) != count:
        raise BadElement(f"says of {len(groups)} of {count} masks which frames they are of")
    for group in groups:
        sources = [
            source
            for part in (group, *shared[:1])
            for derivation in items(part, "DerivationImageSequence")
            for source in items(derivation, "SourceImageSequence")
        ]
        if not sources:
            raise BadElement("a mask does not say which frame it is of (no source image); export PNG masks instead")
        yield uid(sources[0], "ReferencedSOPInstanceUID"), _frame(sources[0])


def _frame(source: Dataset) -> int:
    """The frame that a reference means, from 0; that of a file of one frame has no number."""
    if value_of(source, "ReferencedFrameNumber") is None:
        return 0
    found = numbers(source, "ReferencedFrameNumber")
    if len(found) != 1 or found[0] < 1 or found[0] != int(found[0]):
        raise BadElement("a mask is of several frames, or of none; need one mask a frame")
    return int(found[0]) - 1
