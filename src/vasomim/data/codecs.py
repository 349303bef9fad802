"""How the frames and masks of a pack become bytes, and pixels again."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.picture_size import picture_size
from vasomim.types import BoolImage

Codec = Literal["raw", "png", "webp", "jpeg"]
Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""(H, W) grey values as whole numbers."""
Bits = npt.NDArray[np.uint8]
"""(H, ceil(W / 8)): eight pixels of a mask to a byte, the leftmost in the highest bit."""

BYTE_CODECS = ("webp", "jpeg")
"""Hold 8 bits."""
LOSSLESS_WEBP = 101
"""What OpenCV takes for a quality beyond every lossy one."""


def encode_levels(levels: Levels, codec: Codec, quality: int | None) -> bytes:
    """The bytes of a frame.

    Args:
        levels: (H, W), uint8, or uint16 where the codec holds it.
        codec: `raw` in the machine's little-endian order; the others as files of that name have it.
        quality: 1 to 100 for webp and jpeg; None is lossless webp.

    Raises:
        ValueError: a frame that the codec cannot hold.
    """
    if codec == "raw":
        return np.ascontiguousarray(levels.astype(levels.dtype.newbyteorder("<"), copy=False)).tobytes()
    if codec in BYTE_CODECS and levels.dtype != np.uint8:
        raise ValueError(f"{codec} holds 8 bits, got {levels.dtype}")
    if codec == "jpeg" and quality is None:
        raise ValueError("jpeg is never lossless; name a quality from 1 to 100")
    options: list[int] = {
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 9],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality or LOSSLESS_WEBP],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality or 0],
    }[codec]
    done, content = cv2.imencode(f".{codec}", np.ascontiguousarray(levels), options)
    if not done:
        raise ValueError(f"a frame of shape {levels.shape} does not fit into {codec}")
    return bytes(content.data)


def decode_levels(content: npt.NDArray[np.uint8], codec: Codec, shape: tuple[int, int], bits: int) -> Levels:
    """The frame in `content`, bytes (n,): uint8 or uint16 (H, W); of `raw` a view, so that nothing is read.

    Raises:
        ValueError: the bytes hold no such frame.
    """
    kind: Any = np.uint8 if bits == 8 else np.dtype("<u2")
    if codec == "raw":
        return np.asarray(content.view(kind).reshape(shape))
    size = picture_size(content.tobytes())
    if size is not None and size != (shape[1], shape[0]):  # before memory is taken for what it claims
        raise ValueError(f"decodes to {size[0]} x {size[1]} pixels, not to {shape[1]} x {shape[0]}")
    try:
        pixels = None if size is None else cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ValueError(f"cannot decode as {codec}")
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]  # webp has no grey kind: three equal channels, or nearly
    if grey.shape != shape or grey.dtype != kind:
        raise ValueError(f"decodes to {grey.dtype} {grey.shape}, not to {bits} bits {shape}")
    return np.ascontiguousarray(grey, dtype=kind)


def encode_mask(mask: BoolImage, codec: Codec) -> bytes:
    """The bytes of a mask, bool (H, W): its bits, deflated unless the codec is `raw`."""
    content = np.packbits(mask, axis=1).tobytes()
    return content if codec == "raw" else zlib.compress(content, 9)


def decode_bits(content: npt.NDArray[np.uint8], codec: Codec, shape: tuple[int, int]) -> Bits:
    """The bits of the (H, W) mask in `content`, bytes (n,); of `raw` a view.

    Raises:
        ValueError: the bytes hold no such mask.
    """
    rows, columns = shape[0], -(-shape[1] // 8)
    if codec != "raw":
        try:  # a byte more than there can be tells that there are too many
            plain = zlib.decompressobj().decompress(content.tobytes(), rows * columns + 1)
        except zlib.error as error:
            raise ValueError(f"cannot inflate: {error}") from None
        content = np.frombuffer(plain, np.uint8)
    return content.reshape(rows, columns)


def to_levels(image: npt.NDArray[np.float32], scales: tuple[int, ...]) -> tuple[Levels, int]:
    """A frame in [0, 1] as whole numbers, and the full scale they are to be divided by.

    The first scale that gives back every value exactly is taken, so that nothing is lost of frames that were stored as
    8, 10, 12, 14 or 16 bits; where there is none, values are rounded to the last.

    Args:
        image: float32 (H, W) in [0, 1].
        scales: full scales to try, in ascending order, at most 65535.
    """
    for scale in scales:
        levels = np.rint(image * np.float32(scale)).astype(np.uint8 if scale == 255 else np.uint16)
        if scale == scales[-1] or np.array_equal(to_unit_range(levels, scale), image):
            return levels, scale
    raise ValueError("got no full scale to try")


def to_unit_range(levels: Levels, scale: int) -> npt.NDArray[np.float32]:
    """Whole numbers divided by their full scale: float32 in [0, 1]."""
    return np.divide(levels, np.float32(scale), dtype=np.float32)
