"""One frame or mask in a file: read, checked, written, hashed."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from PIL import Image

from vasomim.data.dicom.layout import MAX_PIXELS
from vasomim.data.dicom.parsing import is_dicom
from vasomim.data.dicom.run import cached_run
from vasomim.data.picture_size import picture_size
from vasomim.errors import DataError, MisuseError
from vasomim.files import write_whole
from vasomim.ops.full_scale import as_share, full_scale
from vasomim.types import BoolImage, FloatImage, Record

FRAME_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp", ".npy"})
"""What counts as a frame in a folder, compared in lower case."""
MAX_FILE_BYTES = 1 << 29
"""Largest file of one frame, 512 MiB: more than the largest frame takes in any type."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]

# OpenCV prints its own lines about broken files; ours, raised below, name the file and the remedy.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_frame(path: Path | str) -> FloatImage:
    """Read a frame as float32 (H, W) in [0, 1].

    8-bit values are divided by 255. 16-bit values are divided by the smallest of 255, 1023, 4095, 16383 and 65535 that
    at most one pixel in a thousand exceeds, as detectors store 10, 12 or 14 bits in 16 and have hot pixels; those are
    white. Floats must lie in [0, 1] already.
    Colour becomes luminance (ITU-R 601), a palette is looked up, alpha is dropped. Nothing is stretched or inverted:
    vessels are expected dark. A DICOM file of one frame is read as `vasomim.data.dicom` says.

    Raises:
        MisuseError: there is no such file.
        DataError: unreadable, truncated, empty, more than one frame, NaN or infinite, or floats outside [0, 1].
    """
    if not is_run(path):
        return to_unit(read_pixels(path), str(path))
    run = cached_run(Path(path), str(path))
    if len(run) > 1:
        raise DataError(f"{path} holds {len(run)} frames; need one: vasomim.data.dicom.open_run gives each of them")
    return run.frame(0)


def read_record(record: Record) -> FloatImage:
    """Read the frame of a record, by the rules of `read_frame`; of a DICOM file the frame it names and no other.

    Raises:
        MisuseError, DataError: as `read_frame`.
    """
    if record.frame is None:
        return read_frame(record.path)
    return cached_run(record.path, record.shown, subtract=record.subtract).frame(record.frame)


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    return path.suffix.lower() in FRAME_SUFFIXES


def is_run(path: Path | str) -> bool:
    """Whether a file is DICOM; such files may have any suffix or none, so their content decides."""
    return not is_picture(Path(path)) and is_dicom(path)


def is_frame(path: Path) -> bool:
    """Whether a file is a picture by its name or DICOM by its content."""
    return is_picture(path) or is_run(path)


def read_pixels(path: Path | str) -> Pixels:
    """Read a frame in its own type: uint8, uint16 or float32 (H, W), unscaled.

    Raises:
        MisuseError, DataError: as `read_frame`.
    """
    return as_grey(read_channels(path))


def read_channels(path: Path | str) -> Pixels:
    """Read a picture as it is stored: (H, W), or (H, W, 3 or 4) in OpenCV's blue-green-red-alpha order.

    Raises:
        MisuseError, DataError: as `read_frame`.
    """
    return _decode(Path(path))


def as_grey(pixels: Pixels) -> Pixels:
    """Luminance (ITU-R 601) of what `read_channels` gives: (H, W) of the same type."""
    if pixels.ndim == 2:
        return pixels
    return _as_pixels(cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2GRAY), "the frame")


def read_mask(path: Path | str) -> BoolImage:
    """Read a mask as bool (H, W): True where a pixel exceeds half of the largest value present.

    So 0/1, 0/255 and stray grey levels all read alike, and an all-zero mask is all False. A colour counts by its
    strongest channel, whatever its hue. Transparent pixels are background; where all the colour is one and only alpha
    varies, alpha is the mask.

    Raises:
        MisuseError, DataError: as `read_frame`.
    """
    return above_half(mask_values(read_channels(path)))


def above_half(values: Pixels) -> BoolImage:
    """The mask (H, W) in the values that `mask_values` gives."""
    return np.asarray(values > values.max() / 2, dtype=np.bool_)


def mask_values(pixels: Pixels) -> Pixels:
    """The values (H, W) by which `read_mask` judges what `read_channels` gives."""
    return _strongest_channel(pixels) if pixels.ndim == 3 else pixels


def to_unit(pixels: npt.NDArray[Any], name: str = "the frame") -> FloatImage:
    """Scale a grey frame of any type to float32 (H, W) in [0, 1], by the rules of `read_frame`.

    Args:
        pixels: (H, W).
        name: what error messages call it.

    Raises:
        DataError: not (H, W), empty, not finite, negative, or floats above 1.
    """
    if pixels.ndim != 2:
        raise DataError(f"{name} has shape {pixels.shape}; need one grey frame (H, W)")
    pixels = _as_pixels(pixels, name)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype == np.uint16:
        return as_share(pixels, full_scale(pixels))
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise DataError(
            f"{name} holds floats from {low:.4g} to {high:.4g}; need values in [0, 1]: "
            "divide by the full scale, or store integers"
        )
    return np.clip(pixels, 0, 1).astype(np.float32, copy=False)


def is_constant(image: npt.NDArray[Any]) -> bool:
    """Whether every pixel has the same value: such a frame is readable, but holds nothing to learn from."""
    return bool(image.min() == image.max())


def frame_hash(frame: Path | str | npt.NDArray[Any]) -> str:
    """Hash of what `read_frame` gives, 32 hexadecimal digits: equal for equal pixels in whatever encoding.

    Raises:
        MisuseError, DataError: as `read_frame`.
    """
    pixels = read_pixels(frame) if isinstance(frame, Path | str) else frame
    if pixels.dtype != np.uint8:
        pixels = _as_bytes_if_exact(to_unit(pixels))
    digest = hashlib.blake2b(f"{pixels.dtype.name} {pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def write_png(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a lossless PNG in one step: a reader sees the old file or the whole new one. Makes missing folders.

    Args:
        path: file to write.
        array: bool (H, W), written as 0/255; uint8 or uint16 (H, W); or uint8 (H, W, 3) RGB.

    Raises:
        ValueError: another shape or type.
        LongNameError: the file cannot be called that.
        WriteError: the file cannot be written, for example because the disk is full.
    """
    write_whole(path, _encode_png(array), durable=False)


def _encode_png(array: npt.NDArray[Any]) -> bytes:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    rgb = array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8
    if not rgb and not (array.ndim == 2 and array.dtype in (np.uint8, np.uint16)):
        raise ValueError(f"write_png needs bool, uint8 or uint16 (H, W) or uint8 RGB, got {array.dtype} {array.shape}")
    if rgb:
        array = cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".png", np.ascontiguousarray(array), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return bytes(content.data)


def _decode(path: Path) -> Pixels:
    """Pixels of a file: (H, W), or (H, W, 3 or 4) in OpenCV's blue-green-red-alpha order."""
    content = _read_bytes(path)
    _check_whole(content, path)
    decode = _decode_npy if path.suffix.lower() == ".npy" else _decode_image
    pixels = decode(content, path)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise DataError(f"{path} has shape {pixels.shape}; need one frame: (H, W), or with 3 or 4 channels last")
    return _as_pixels(pixels, str(path))


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path} has {size >> 20} MiB, a frame at most {MAX_FILE_BYTES >> 20}; remove it")
        content = path.read_bytes()
    except FileNotFoundError:
        raise MisuseError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise MisuseError(f"{path} is a folder; name a file") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; check its permissions and the disk") from error
    if not content:
        raise DataError(f"{path} is empty (0 bytes); copy it again or remove it")
    return content


def _check_whole(content: bytes, path: Path) -> None:
    """Refuse a PNG or JPEG whose end is missing: some decoders fill the rest with grey and say nothing."""
    if content.startswith(b"\x89PNG"):
        whole = content.rfind(b"IEND") > 0
    elif content.startswith(b"\xff\xd8"):
        # The end mark must follow the last scan: an embedded thumbnail has an end mark of its own.
        whole = content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda") > 0
    else:
        return
    if not whole:
        raise DataError(f"{path} is truncated: its end is missing ({len(content)} bytes); copy it again or remove it")


def _decode_image(content: bytes, path: Path) -> npt.NDArray[Any]:
    size = picture_size(content)
    if size is not None and not 1 <= size[0] * size[1] <= MAX_PIXELS:
        sides = f"{size[0]} x {size[1]}"
        raise DataError(f"{path} says it has {sides} pixels; need 1 to {MAX_PIXELS} in all: replace or remove it")
    try:
        pixels = None if size is None else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        known = " ".join(sorted(suffix[1:] for suffix in FRAME_SUFFIXES))
        raise DataError(
            f"cannot decode {path}: damaged, truncated or not an image; replace or remove it (known: {known})"
        )
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _with_straight_alpha(np.asarray(pixels), content, path)
    return np.asarray(pixels)


def _with_straight_alpha(pixels: npt.NDArray[Any], content: bytes, path: Path) -> npt.NDArray[Any]:
    """Pixels of a TIFF; those with alpha once more by Pillow, as OpenCV multiplies alpha into the colours or drops it.

    Raises:
        DataError: several pages.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            pages = getattr(image, "n_frames", 1)
            if image.mode in ("LA", "PA", "RGBA"):
                pixels = np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]]
    except Exception:  # Pillow raises whatever a damaged directory leads it to
        return pixels  # a kind of TIFF that OpenCV alone can read
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; need one frame a file: save each page on its own")
    return pixels


def _decode_npy(content: bytes, path: Path) -> npt.NDArray[Any]:
    array = _array_of(content, path)
    if array.ndim > 2:
        array = array.squeeze(tuple(axis for axis, side in enumerate(array.shape) if side == 1))
    # Colours in RGB order, as NumPy users have them; the rest of this module follows OpenCV.
    colour = array.ndim == 3 and array.shape[2] in (3, 4)
    return np.asarray(array[..., [2, 1, 0, 3][: array.shape[2]]] if colour else array)


def _array_of(content: bytes, path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file, which costs no more memory than the file has."""
    if content.startswith(b"PK"):
        raise DataError(f"{path} is an archive of arrays; save one frame with numpy.save")
    file = io.BytesIO(content)
    try:
        version = read_magic(file)
        read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}[version]
        shape, by_columns, dtype = read_header(file)
        count = math.prod(shape)
        if dtype.hasobject or len(content) - file.tell() < count * dtype.itemsize:
            raise ValueError(f"{count} values of type {dtype} are claimed")
        values = np.frombuffer(content, dtype, count, file.tell()).copy()
        return values.reshape(shape, order="F" if by_columns else "C")
    except Exception as error:  # numpy evaluates the header, which can make it raise anything
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise DataError(f"cannot read {path}: damaged or not of numpy.save ({reason}); save it again") from error


def _as_pixels(array: npt.NDArray[Any], name: str) -> Pixels:
    """The same values as uint8, uint16 or float32, checked."""
    if array.size == 0:
        raise DataError(f"{name} is empty: shape {array.shape}; remove it")
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.uint16:
        return array.astype(np.uint16, copy=False)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds NaN or infinite values; repair or remove it")
        return array.astype(np.float32, copy=False)
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} has type {array.dtype}; need uint8, uint16 or float")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise DataError(f"{name} holds integers from {low} to {high}; need 8 or 16 bits: 0 to 65535")
    return array.astype(np.uint8) if high <= 255 else array.astype(np.uint16)


def _strongest_channel(values: Pixels) -> Pixels:
    colour: Pixels = values[..., :3].max(2)
    if values.shape[2] == 3:
        return colour
    alpha: Pixels = values[..., 3]
    if is_constant(colour) and not is_constant(alpha):
        return alpha
    colour[alpha <= alpha.max() / 2] = 0
    return colour


def _as_bytes_if_exact(image: FloatImage) -> Pixels:
    """The frame as uint8 where that loses nothing, so that 8 bits stored as floats hash as 8 bits."""
    levels = np.rint(image * 255).astype(np.uint8)
    return levels if np.array_equal(to_unit(levels), image) else image
