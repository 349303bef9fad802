"""Bytes of one frame to the values stored in it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.calling import call_decoder
from vasomim.data.dicom.elements import BadElement
from vasomim.data.dicom.isolation import decode_isolated
from vasomim.data.dicom.layout import PixelLayout
from vasomim.data.dicom.pictures import check_picture
from vasomim.data.dicom.rle import decode_rle
from vasomim.errors import MissingExtraError

NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
JPEG_LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"}
JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
BY_GDCM = JPEG_LOSSLESS | JPEG_LS
SUPPORTED = NATIVE | {RLE} | JPEG_LOSSY | JPEG_LOSSLESS | JPEG_LS | JPEG_2000


def require_codec(transfer_syntax: str, name: str) -> None:
    """Make sure that frames of this encoding can be decoded here.

    Raises:
        BadElement: unknown encoding.
        MissingExtraError: GDCM is not installed.
    """
    if transfer_syntax not in SUPPORTED:
        shown = transfer_syntax if transfer_syntax.replace(".", "").isdecimal() else "none that is valid"
        raise BadElement(
            f"transfer syntax {shown} is not supported; need uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000: "
            "convert the file first"
        )
    if transfer_syntax in BY_GDCM and importlib.util.find_spec("gdcm") is None:
        raise MissingExtraError(f"{name} is compressed in a way that needs GDCM: pip install vasomim[dicom]")


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
    if transfer_syntax == RLE and layout.samples == 1:
        return _used_bits(decode_rle(content, layout), layout)
    if transfer_syntax == RLE:
        native = np.ascontiguousarray(decode_rle(content, layout)).tobytes()
        return _decode(native, replace(layout, planar=0, photometric=_unsampled(layout)), EXPLICIT, "OB")
    if transfer_syntax not in NATIVE:
        check_picture(content, layout, jpeg_2000=transfer_syntax in JPEG_2000)
    values = _decode(content, layout, transfer_syntax, pixel_vr)
    if values.shape[:2] != (layout.rows, layout.columns):
        raise BadElement(f"a frame has shape {values.shape}; its file says {layout.rows} x {layout.columns}")
    return _used_bits(values, layout) if transfer_syntax in NATIVE and layout.samples == 1 else values


def _unsampled(layout: PixelLayout) -> str:
    """Run-length encoding keeps every chroma sample."""
    return "YBR_FULL" if layout.photometric == "YBR_FULL_422" else layout.photometric


def _decode(content: bytes, layout: PixelLayout, transfer_syntax: str, pixel_vr: str) -> npt.NDArray[Any]:
    """By pydicom and the library that is right for the encoding.

    Pillow where it can: it refuses damaged pictures that GDCM fills with grey, and it survives them.
    """
    options = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": layout.photometric,
        "planar_configuration": layout.planar,
        "pixel_vr": pixel_vr,
    }
    if transfer_syntax in BY_GDCM:
        return decode_isolated("gdcm", content, transfer_syntax, options)
    native = transfer_syntax in NATIVE
    if native:  # pydicom takes the lowest bits for the stored ones, whatever the high bit says; ours comes later
        options["correct_unused_bits"] = False
    plugin = "" if native else "pillow"
    try:
        return call_decoder(plugin, content, transfer_syntax, options, encapsulated=not native)
    except Exception as error:  # decoders raise whatever broken bytes lead to
        kind = type(error).__name__
        raise BadElement(f"a frame cannot be decoded ({kind}): damaged or of an unusual kind") from None


def _used_bits(values: npt.NDArray[Any], layout: PixelLayout) -> npt.NDArray[Any]:
    """The stored bits alone, sign extended; what lies above or below may be anything, overlays included (PS3.5 8.1)."""
    width = layout.bits_allocated
    container = np.dtype(f"{'i' if layout.signed else 'u'}{width // 8}")
    values = values.astype(values.dtype.newbyteorder("="), copy=False).view(container)
    if layout.bits_stored == width:
        return values
    above, unused = container.type(width - 1 - layout.high_bit), container.type(width - layout.bits_stored)
    return np.asarray((values << above) >> unused)
