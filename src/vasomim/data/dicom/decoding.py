"""Bytes of one frame to the values stored in it."""

from __future__ import annotations

import importlib.util
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.elements import BadElement
from vasomim.data.dicom.layout import GREY, PALETTE, PixelLayout
from vasomim.data.dicom.parsing import require_pydicom
from vasomim.errors import MissingExtraError

NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
RLE = "1.2.840.10008.1.2.5"
JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70)}
JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_SUPPORTED = NATIVE | {RLE} | JPEG | JPEG_LS | JPEG_2000
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Second byte of the JPEG markers that give the picture's size; F7 is JPEG-LS."""


def require_codec(transfer_syntax: str, name: str) -> None:
    """Make sure that frames of this encoding can be decoded here.

    Raises:
        BadElement: unknown encoding.
        MissingExtraError: GDCM is not installed.
    """
    if transfer_syntax not in _SUPPORTED:
        shown = transfer_syntax if transfer_syntax.replace(".", "").isdecimal() else "none that is valid"
        raise BadElement(
            f"transfer syntax {shown} is not supported; need uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000: "
            "convert the file first"
        )
    if transfer_syntax in NATIVE or transfer_syntax == RLE:
        return
    if importlib.util.find_spec("gdcm") is None:
        raise MissingExtraError(f"{name} is compressed and needs GDCM: pip install vasomim[dicom]")


def decode(content: bytes, layout: PixelLayout, transfer_syntax: str, pixel_vr: str) -> npt.NDArray[Any]:
    """Stored values of one frame: integers (H, W), or RGB (H, W, 3) where the file holds colours.

    Args:
        content: the bytes of the frame.
        layout: of the file.
        transfer_syntax: UID of the encoding.
        pixel_vr: OB or OW, which matters in big endian files.

    Raises:
        BadElement: damaged, truncated, or of another size than the file says.
    """
    if transfer_syntax not in NATIVE:
        _check_encoded(content, layout, transfer_syntax)
    try:
        values = _call_decoder(content, layout, transfer_syntax, pixel_vr)
    except Exception as error:  # the decoders raise whatever broken bytes lead to
        raise BadElement(f"a frame cannot be decoded ({type(error).__name__}): damaged; copy the file again") from None
    if values.shape[:2] != (layout.rows, layout.columns):
        raise BadElement(f"a frame has shape {values.shape}; its file says {layout.rows} x {layout.columns}")
    return values


def _call_decoder(content: bytes, layout: PixelLayout, transfer_syntax: str, pixel_vr: str) -> npt.NDArray[Any]:
    require_pydicom()
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    native = transfer_syntax in NATIVE
    exact = native or transfer_syntax == RLE
    values, _ = get_decoder(UID(transfer_syntax)).as_array(
        content if native else encapsulate([content], has_bot=False),
        index=0,
        number_of_frames=1,
        rows=layout.rows,
        columns=layout.columns,
        samples_per_pixel=layout.samples,
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_stored,
        pixel_representation=int(layout.signed),
        photometric_interpretation=layout.photometric,
        planar_configuration=layout.planar,
        pixel_keyword="PixelData",
        pixel_vr=pixel_vr,
        **({"correct_unused_bits": False} if exact else {}),
    )
    grey = layout.photometric in (*GREY, PALETTE)
    return _used_bits(values, layout) if exact and grey else np.asarray(values)


def _used_bits(values: npt.NDArray[Any], layout: PixelLayout) -> npt.NDArray[Any]:
    """The stored bits alone, sign extended; what lies above or below may be anything, overlays included (PS3.5 8.1)."""
    width = layout.bits_allocated
    if layout.bits_stored == width:
        return values
    container = np.dtype(f"{'i' if layout.signed else 'u'}{width // 8}")
    values = values.astype(container, copy=True)
    values <<= container.type(width - 1 - layout.high_bit)
    values >>= container.type(width - layout.bits_stored)
    return values


def _check_encoded(content: bytes, layout: PixelLayout, transfer_syntax: str) -> None:
    """Refuse what is cut off, or would be decoded to another size than the file says: some decoders trust it."""
    if transfer_syntax == RLE:
        return
    start = content.find(b"\xff\x4f\xff\x51" if transfer_syntax in JPEG_2000 else b"\xff\xd8\xff")
    if start < 0:
        raise BadElement("a frame holds no picture of the encoding that the file names")
    if content.rfind(b"\xff\xd9") < start:
        raise BadElement("truncated: the end of a frame is missing")
    size = _size_j2k(content, start) if transfer_syntax in JPEG_2000 else _size_jpeg(content, start)
    wanted = layout.columns, layout.rows, layout.samples
    if size != wanted:
        raise BadElement(
            "a frame is {} x {} with {} sample(s) a pixel, its file says {} x {} with {}".format(*size, *wanted)
        )


def _size_jpeg(content: bytes, start: int) -> tuple[int, int, int]:
    """Width, height and components by the frame header."""
    at = start + 2
    while at + 10 <= len(content):
        if content[at] != 0xFF:
            break
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length, _, height, width, components = struct.unpack(">HBHHB", content[at + 2 : at + 10])
        if marker in _FRAME_HEADERS:
            return width, height, components
        at += 2 + length
    raise BadElement("a frame has no size in it: damaged; copy the file again")


def _size_j2k(content: bytes, start: int) -> tuple[int, int, int]:
    """Width, height and components by the SIZ marker."""
    head = content[start + 6 : start + 42]
    if len(head) < 36:
        raise BadElement("a frame has no size in it: damaged; copy the file again")
    _, right, bottom, left, top, _, _, _, _, components = struct.unpack(">HLLLLLLLLH", head)
    return right - left, bottom - top, components
