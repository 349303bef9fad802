"""Finding out that a file is DICOM, and reading all of it but its pixels."""

from __future__ import annotations

import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vasomim.data.dicom.elements import BadElement, Dataset, uid
from vasomim.errors import DataError, MissingExtraError, MisuseError, VasomimError

MAGIC_AT, MAGIC = 128, b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""What a file without preamble starts with: group 2 or 8, little endian, or group 8, big endian."""
MAX_HEADER_BYTES = 64 << 20
MAX_HEADER_READS = 3_000_000
"""Bounds on what comes before the pixels; each read is at least one element in memory."""
_DEFER = 1 << 20
"""Larger values stay in the file until somebody asks for them."""
_PIXEL_DATA = 0x7FE00010
_DEFLATED = "1.2.840.10008.1.2.1.99"
_lock = threading.RLock()


_NO_FRAMES = {
    "1.2.840.10008.1.3.10": "a DICOMDIR",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose",
}
"""Classes of objects that lie beside images and are none."""
_IMAGES = ("1.2.840.10008.5.1.4.1.1.12.", "1.2.840.10008.5.1.4.1.1.7")
"""Beginnings of the classes of X-ray projections and of secondary capture."""


class NoFramesError(DataError):
    """A DICOM object that is no image: a report, a presentation state, a segmentation, a directory."""


class _NoFrames(BadElement):
    """As `NoFramesError`, before the file's name is known."""


@dataclass(frozen=True, slots=True)
class Header:
    """A file without its pixels."""

    dataset: Dataset
    """All elements before PixelData."""
    transfer_syntax: str
    """UID."""
    pixels_at: int
    """Position of the first byte of the pixels' value."""
    pixels_length: int | None
    """Claimed bytes; None where undefined, as in all compressed files."""
    pixel_vr: str
    file_size: int
    modified_ns: int


def is_dicom(path: Path | str) -> bool:
    """Whether a file is DICOM: by the magic word at byte 128, or, without one, because it can be parsed.

    Cheap: of other files no more than 132 bytes are read. False for folders and for what cannot be opened.
    """
    try:
        if not Path(path).is_file():
            return False  # a pipe would be waited for
        with Path(path).open("rb") as file:
            head = file.read(MAGIC_AT + len(MAGIC))
    except OSError:
        return False
    return head[MAGIC_AT:] == MAGIC or (head[:2] in _FIRST_GROUPS and _parses(Path(path)))


def require_pydicom() -> Any:
    """The module pydicom, told to be quiet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingExtraError("reading DICOM needs pydicom and GDCM: pip install vasomim[dicom]") from None
    return pydicom


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom from repeating a file's values, names included, in warnings and log lines.

    Whoever reads elements of `DicomRun.dataset` does so in this context. One thread at a time, as Python's warning
    filters belong to the process.
    """
    log = logging.getLogger("pydicom")
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


def read_header(path: Path, name: str) -> Header:
    """Everything but the pixels.

    Args:
        path: file.
        name: what messages call it.

    Raises:
        MisuseError: there is no such file.
        MissingExtraError: pydicom is not installed.
        DataError: not DICOM, damaged, or without pixels.
    """
    pydicom = require_pydicom()
    with in_one_line(name), path.open("rb") as file, quiet():
        return _parse(pydicom, file)


def read_whole(path: Path, name: str) -> Dataset:
    """Everything in a file that is small by nature: a DICOMDIR, a segmentation.

    Raises:
        MisuseError, MissingExtraError, DataError: as `read_header`.
    """
    pydicom = require_pydicom()
    with in_one_line(name), path.open("rb") as file, quiet():
        if _is_deflated(pydicom, file):
            raise BadElement("the file is deflated as a whole; inflate it first")
        return pydicom.dcmread(_Bounded(file))


@contextmanager
def in_one_line(name: str) -> Iterator[None]:
    """Whatever reading a file raises becomes one line that repeats nothing from the file."""
    try:
        yield
    except VasomimError:
        raise
    except FileNotFoundError:
        raise MisuseError(f"no such file: {name}") from None
    except IsADirectoryError:
        raise MisuseError(f"{name} is a folder; name a file") from None
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}; check its permissions and the disk") from None
    except _NoFrames as error:
        raise NoFramesError(f"{name}: {error}") from None
    except BadElement as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # a damaged file can make pydicom raise anything, in words that may hold its values
        kind = type(error).__name__
        raise DataError(f"cannot read {name} as DICOM ({kind}): damaged or no DICOM; copy it again") from None


def _parse(pydicom: Any, file: BinaryIO) -> Header:
    status = os.fstat(file.fileno())
    bounded = _Bounded(file)
    if _is_deflated(pydicom, file):
        raise BadElement("the file is deflated as a whole, so that no frame can be read by itself; inflate it first")
    dataset = pydicom.dcmread(bounded, stop_before_pixels=True, force=True, defer_size=_DEFER)
    implicit, little = dataset.original_encoding
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or _guess(implicit, little))
    if not len(dataset):
        raise BadElement("not a DICOM file; copy it again, or name it otherwise if it is none")
    sop_class = uid(dataset, "SOPClassUID") or uid(dataset.file_meta, "MediaStorageSOPClassUID")
    if sop_class in _NO_FRAMES:
        raise _NoFrames(f"is {_NO_FRAMES[sop_class]}, no image; name a file with frames")
    if file.tell() >= status.st_size:
        if "Rows" in dataset or sop_class.startswith(_IMAGES):
            raise BadElement("truncated: its pixels are missing; copy it again")
        raise _NoFrames("there are no pixels in it; name a file with frames")
    where, length, vr = _pixel_element(file, implicit=implicit, little=little)
    return Header(dataset, syntax, where, length, vr, status.st_size, status.st_mtime_ns)


def _is_deflated(pydicom: Any, file: BinaryIO) -> bool:
    """Whether the whole content is deflated; pydicom would inflate it without bound."""
    file.seek(MAGIC_AT)
    if file.read(len(MAGIC)) != MAGIC:
        file.seek(0)
        return False
    file.seek(0)
    meta = pydicom.filereader.read_file_meta_info(file.name)
    return str(meta.get("TransferSyntaxUID", "")) == _DEFLATED


def _guess(implicit: bool, little: bool) -> str:
    """Transfer syntax of a file that names none."""
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def _pixel_element(file: BinaryIO, *, implicit: bool, little: bool) -> tuple[int, int | None, str]:
    """Position, length and VR of PixelData, whose tag is next in the file."""
    order = "<" if little else ">"
    head = file.read(8 if implicit else 12)
    if len(head) < (8 if implicit else 12):
        raise BadElement("truncated: its pixels are missing; copy it again")
    group, element = struct.unpack(f"{order}HH", head[:4])
    if group << 16 | element != _PIXEL_DATA:
        raise BadElement("its pixels are floating point, which is not supported; need 8 to 16 bits")
    length = int(struct.unpack(f"{order}L", head[-4:])[0])
    vr = "OW" if implicit else head[4:6].decode("ascii", "replace")
    return file.tell(), None if length == 0xFFFFFFFF else length, vr


def _parses(path: Path) -> bool:
    """Whether a file without preamble is an object of a known class."""
    try:
        pydicom = require_pydicom()
        with path.open("rb") as file, quiet():
            found = pydicom.dcmread(
                _Bounded(file), stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"], defer_size=_DEFER
            )
            return bool(str(found.get("SOPClassUID", "")).startswith("1.2.840.10008."))
    except Exception:  # whatever is wrong with it: it is no DICOM that we can read
        return False


class _Bounded:
    """A file that refuses to give a hostile header all memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.bytes, self.reads, self.name = file, 0, 0, file.name
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(MAX_HEADER_BYTES + 1 if size < 0 else size)
        self.bytes += len(content)
        self.reads += 1
        if self.bytes > MAX_HEADER_BYTES or self.reads > MAX_HEADER_READS:
            raise BadElement(f"its header is larger than {MAX_HEADER_BYTES >> 20} MiB; need a smaller one")
        return content
