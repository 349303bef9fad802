"""One look at a frame and its mask: everything the audit wants to know, from one decoding. Runs in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.audit.signatures import codec_of, read_head
from vasomim.data.copies import Fingerprint, fingerprint
from vasomim.data.dicom.run import cached_run
from vasomim.data.frames import Pixels, as_grey, mask_values, read_channels, to_unit
from vasomim.data.polygons import Polygon, rasterise
from vasomim.errors import VasomimError
from vasomim.ops.burnt_text import text_boxes
from vasomim.ops.field_of_view import field_of_view
from vasomim.ops.full_scale import full_scale
from vasomim.ops.ridges import INVERTED, SIDE, Ridges, Shift, best_shift, polarity, ridges
from vasomim.types import BoolImage, Box, Record

COLOUR_SPREAD = 0.1
"""Difference between the channels of a pixel, of the full scale, that is colour; compression alone stays below."""
SMALL_SHARE, LARGE_SHARE = 0.005, 0.5
"""Share of vessel pixels within which a mask can be aligned."""
SMALLEST = 64
"""Side in pixels below which ridges and letters are not looked for."""
FIT = 0.15
"""Correlation of mask and ridges below which a mask is tried turned and mirrored; in place it is 0.13 to 0.75."""


@dataclass(frozen=True)
class Job:
    """A frame to look at, with its mask as a file or as outlines."""

    record: Record
    mask: Path | None = None
    classes: frozenset[int] | None = None
    """Values that the mask may have, 0 being background; None where it is black and white."""
    outlines: Sequence[Polygon] | None = None
    listed: tuple[int, int] | None = None
    """(H, W) that the annotation file gives."""


@dataclass(frozen=True)
class MaskLook:
    """What a mask looks like."""

    error: str | None = None
    shape: tuple[int, int] = (0, 0)
    share: float = 0.0
    """Share of vessel pixels."""
    stray: int = 0
    """Pixels with a value other than the two that a mask has."""
    shift: Shift | None = None
    """Where it fits best; None where that cannot be told."""
    turned: tuple[str, float] | None = None
    """How a mask that fits nowhere has to be turned or mirrored, and how well it then fits."""


@dataclass(frozen=True)
class Look:
    """What a frame looks like; a frame that cannot be read has an error and nothing else."""

    error: str | None = None
    codec: str | None = None
    shape: tuple[int, int] = (0, 0)
    bits: str = ""
    """8, 10, 12, 14 or 16 as they are in use, or `float`."""
    channels: str = "grey"
    """`grey`, `grey in colour` or `colour`."""
    mean: float = 0.0
    std: float = 0.0
    percentiles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """1st, 50th and 99th."""
    white: float = 0.0
    """Share of the exposed field at the frame's largest value."""
    black: float = 0.0
    """Share of the exposed field at the frame's smallest value."""
    outside: float = 0.0
    """Share of the frame outside of the exposed field."""
    polarity: float = 0.0
    text: tuple[Box, ...] = ()
    prints: Fingerprint | None = None
    mask: MaskLook | None = None


def look_at(job: Job) -> Look:
    """Read a frame and its mask; never raises for a bad file."""
    codec = codec_of(read_head(job.record.path))
    try:
        pixels, bits = _read(job.record)
        grey = as_grey(pixels)
        image = to_unit(grey)
    except VasomimError as error:
        return Look(error=str(error), codec=codec)
    prints = fingerprint(grey)
    mask, maps = None, None
    if prints.bits is not None and min(image.shape) >= SMALLEST:
        maps = ridges(image)
    if job.mask is not None or (job.outlines and job.listed in (None, image.shape)):
        mask = _look_at_mask(job, image.shape, maps)
    small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), np.float32)
    field = field_of_view(small)
    exposed = small[field] if field.any() else small
    low, middle, high = np.quantile(small, [0.01, 0.5, 0.99]).tolist()
    return Look(
        codec=codec,
        shape=(image.shape[0], image.shape[1]),
        bits=bits,
        channels=_channels(pixels),
        mean=float(image.mean()),
        std=float(image.std()),
        percentiles=(low, middle, high),
        white=float((exposed >= image.max()).mean()),
        black=float((exposed <= image.min()).mean()),
        outside=1 - float(field.mean()),
        polarity=polarity(maps) if maps else 0.0,
        text=tuple(text_boxes(image)) if maps else (),
        prints=prints,
        mask=mask,
    )


def _read(record: Record) -> tuple[Pixels, str]:
    """A frame as it is stored, and its bits; a frame of a DICOM file as it is shown, since stored values say little."""
    if record.frame is None:
        pixels = read_channels(record.path)
        return pixels, _bits(pixels)
    run = cached_run(record.path, record.shown)
    return run.frame(record.frame), str(run.facts.bits_stored)


def _bits(grey: npt.NDArray[Any]) -> str:
    if grey.dtype == np.uint8:
        return "8"
    if grey.dtype != np.uint16:
        return "float"
    return str(full_scale(grey).bit_length())


def _channels(pixels: npt.NDArray[Any]) -> str:
    if pixels.ndim == 2:
        return "grey"
    colour = pixels[..., :3].astype(np.float32)
    spread = colour.max(2) - colour.min(2)
    full = {"uint8": 255, "uint16": max(1.0, float(colour.max()))}.get(pixels.dtype.name, 1.0)
    # Single pixels are noise of the encoding.
    marked = cv2.erode((spread > COLOUR_SPREAD * full).view(np.uint8), np.ones((2, 2), np.uint8))
    return "colour" if marked.any() else "grey in colour"


def audited_mask(job: Job, shape: tuple[int, int]) -> BoolImage:
    """The mask of a job as the audit takes it, from its file or, for a frame (H, W), from its outlines.

    Raises:
        DataError: the file cannot be read.
    """
    return rasterise(job.outlines or (), shape) if job.mask is None else _read_mask(job.mask, job.classes)[0]


def _read_mask(path: Path, classes: frozenset[int] | None) -> tuple[BoolImage, int]:
    """A mask, and how many pixels have none of the values that it may have."""
    values = mask_values(read_channels(path))
    mask = np.asarray(values > (values.max() / 2 if classes is None else 0))
    allowed = [0, values.max()] if classes is None else list(classes)
    return mask, int(np.count_nonzero(~np.isin(values, allowed)))


def _look_at_mask(job: Job, shape: tuple[int, ...], maps: Ridges | None) -> MaskLook:
    if job.mask is None:
        mask, stray = audited_mask(job, (shape[0], shape[1])), 0
    else:
        try:
            mask, stray = _read_mask(job.mask, job.classes)
        except VasomimError as error:
            return MaskLook(error=str(error).replace(str(job.mask), job.mask.name))
    share = float(mask.mean())
    known = MaskLook(None, (mask.shape[0], mask.shape[1]), share, stray)
    if maps is None or mask.shape != shape or not SMALL_SHARE <= share <= LARGE_SHARE:
        return known
    shift = best_shift(mask, _dark(maps))
    turned = _turned(mask, _dark(maps)) if shift.here < FIT else None
    return MaskLook(None, known.shape, share, stray, shift, turned)


def _dark(maps: Ridges) -> Ridges:
    """Vessels as dark ridges, also of an inverted frame."""
    return maps if polarity(maps) >= INVERTED else Ridges(maps.bright, maps.dark, maps.inside)


def _turned(mask: BoolImage, maps: Ridges) -> tuple[str, float]:
    """The turn or reflection after which a mask fits best, without a shift, and its correlation."""
    fits = {name: best_shift(turn(mask), maps).here for name, turn in _TURNS.items()}
    name = max(fits, key=fits.__getitem__)
    return name, fits[name]


_TURNS: dict[str, Callable[[BoolImage], BoolImage]] = {
    "mirrored left to right": lambda mask: mask[:, ::-1],
    "mirrored top to bottom": lambda mask: mask[::-1],
    "turned by half": lambda mask: mask[::-1, ::-1],
    "turned by a quarter to the left": lambda mask: np.rot90(mask),
    "turned by a quarter to the right": lambda mask: np.rot90(mask, -1),
    "with rows and columns exchanged": lambda mask: mask.T,
    "mirrored along the other diagonal": lambda mask: np.rot90(mask, 2).T,
}
"""What may have happened to a mask; each undoes itself or its neighbour, on square frames exactly."""
