"""What a compressed frame says of itself, read before a decoder allocates what it asks for."""

from __future__ import annotations

import struct

from vasomim.data.dicom.elements import BadElement
from vasomim.data.dicom.layout import PixelLayout
from vasomim.data.picture_size import jpeg_header

_MAX_TILES = 4096
_NO_SIZE = "a frame has no size in it: damaged; copy the file again"


def check_picture(content: bytes, layout: PixelLayout, *, jpeg_2000: bool) -> None:
    """Refuse a picture that is cut off, or would be decoded to another size than its file says.

    Raises:
        BadElement: as said.
    """
    start = content.find(b"\xff\x4f\xff\x51" if jpeg_2000 else b"\xff\xd8\xff")
    if start < 0:
        raise BadElement("a frame holds no picture of the encoding that its file names")
    # Some decoders fill what is missing with grey and say nothing. The end mark cannot occur within coded pixels.
    if content.rfind(b"\xff\xd9") < start:
        raise BadElement("truncated: the end of a frame is missing")
    size = _size_of_jpeg_2000(content, start) if jpeg_2000 else _size_of_jpeg(content, start)
    wanted = layout.columns, layout.rows, layout.samples
    if size != wanted:
        there, said = ("{} x {} with {} sample(s) a pixel".format(*found) for found in (size, wanted))
        raise BadElement(f"a frame is {there}, its file says {said}")


def _size_of_jpeg(content: bytes, start: int) -> tuple[int, int, int]:
    """Width, height and components by the frame header of a JPEG or JPEG-LS picture."""
    found = jpeg_header(content, start)
    if found is None:
        raise BadElement(_NO_SIZE)
    if found.lossy and found.precision != 8:
        raise BadElement(f"lossy JPEG of {found.precision} bits cannot be decoded; need 8 bits or a lossless encoding")
    return found.width, found.height, found.components


def _size_of_jpeg_2000(content: bytes, start: int) -> tuple[int, int, int]:
    """Width, height and components by the SIZ marker."""
    head = content[start + 6 : start + 42]
    if len(head) < 36:
        raise BadElement(_NO_SIZE)
    _, right, bottom, left, top, tile_width, tile_height, _, _, components = struct.unpack(">H8LH", head)
    width, height = right - left, bottom - top
    if not tile_width or not tile_height or -(-width // tile_width) * -(-height // tile_height) > _MAX_TILES:
        raise BadElement(f"a frame is cut into more than {_MAX_TILES} tiles")
    return width, height, components
