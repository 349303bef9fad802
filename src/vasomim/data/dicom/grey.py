"""Stored values to what a viewer shows: modality, then values of interest, then polarity (PS3.3 C.11, PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.elements import (
    BadElement,
    Dataset,
    code,
    group_item,
    integer,
    items,
    number,
    numbers,
    uid,
    value_of,
)
from vasomim.data.dicom.layout import PixelLayout
from vasomim.data.dicom.spans import Span
from vasomim.types import FloatImage

FloatArray = npt.NDArray[np.float64]

_X_RAY_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.12.{number}" for number in (1, 2))
"""XA and XRF, in which a modality LUT may lead back to beam intensity instead of to the display."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in ITU-R 601."""
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True)
class Window:
    """A window of interest (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: FloatArray) -> FloatArray:
        """Values of any range -> [0, 1]."""
        if self.function == "SIGMOID":
            # Clipped: beyond 700 the exponential leaves the range of doubles.
            slope = np.clip(-4 * (values - self.center) / self.width, -700, 700)
            return np.asarray(1 / (1 + np.exp(slope)))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:  # the formula divides by width - 1; what it leaves is a step
            return np.where(values > self.center - 0.5, 1.0, 0.0)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True)
class Rescale:
    """A linear modality transformation."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: FloatArray) -> FloatArray:
        return values * self.slope + self.intercept


@dataclass(frozen=True, slots=True, eq=False)
class Lut:
    """A look-up table (PS3.3 C.11.1.1): values below the first are mapped to its first entry, above to its last."""

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int

    def __call__(self, values: FloatArray) -> FloatArray:
        at = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[at].astype(np.float64)

    def unit(self, values: FloatArray) -> FloatArray:
        """As values of interest: [0, 1]. Some devices write 8 bits of longer entries: the largest is white then."""
        return self(values) / max((1 << self.bits) - 1, int(self.entries.max()))


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the stored values of a frame become grey."""

    modality: Rescale | Lut
    interest: Window | Lut | None
    """None where the file names neither window nor table."""
    inverted: bool
    """MONOCHROME1: small values are white."""

    def table(self, layout: PixelLayout, fallback: Span | None) -> npt.NDArray[np.float32]:
        """[0, 1] for every value that can be stored, the lowest first."""
        values = self.modality(np.arange(layout.lowest, layout.highest + 1, dtype=np.float64))
        return self.shown(values, fallback).astype(np.float32)

    def shown(self, values: FloatArray, fallback: Span | None) -> FloatArray:
        """Values behind the modality transformation -> [0, 1], dark where a viewer shows dark."""
        interest = self.interest.unit if isinstance(self.interest, Lut) else self.interest or fallback
        assert interest is not None
        grey = interest(values)
        # After the window, never before: the window is defined on the values as they are.
        return 1 - grey if self.inverted else grey


def read_rendering(dataset: Dataset, index: int = 0) -> Rendering:
    """How frame `index` is shown.

    Raises:
        BadElement: a window or table that cannot be used.
    """
    transformed = group_item(dataset, index, "PixelValueTransformationSequence") or dataset
    interest = group_item(dataset, index, "FrameVOILUTSequence") or dataset
    signed = integer(dataset, "PixelRepresentation", 0) == 1
    return Rendering(
        _read_modality(dataset, transformed, signed),
        _read_interest(interest, signed),
        code(dataset, "PhotometricInterpretation") == "MONOCHROME1",
    )


def read_renderings(dataset: Dataset, num_frames: int) -> list[Rendering]:
    """How each frame is shown; enhanced objects may say it frame by frame.

    Raises:
        BadElement: as `read_rendering`.
    """
    if not items(dataset, "PerFrameFunctionalGroupsSequence"):
        return [read_rendering(dataset)] * num_frames
    return [read_rendering(dataset, index) for index in range(num_frames)]


def logarithmic_table(dataset: Dataset, rendering: Rendering, layout: PixelLayout) -> npt.NDArray[np.float32]:
    """For every value that can be stored, the lowest first: a number logarithmic to beam intensity, for subtraction.

    LIN is the intensity itself and its logarithm is taken; all other relationships (LOG, and DRM and DISP, which are
    what the maker shows) are taken as they are.
    """
    values = rendering.modality(np.arange(layout.lowest, layout.highest + 1, dtype=np.float64))
    if code(dataset, "PixelIntensityRelationship") == "LIN":
        values = np.log1p(np.maximum(values, 0))
    return values.astype(np.float32)


def luminance(colours: npt.NDArray[Any], bits_stored: int) -> FloatImage:
    """RGB (H, W, 3) -> grey (H, W) in [0, 1], ITU-R 601, as for other pictures."""
    scaled = colours.astype(np.float32) / np.float32((1 << bits_stored) - 1)
    return np.asarray(np.clip(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY), 0, 1), np.float32)


def palette_table(dataset: Dataset, layout: PixelLayout) -> npt.NDArray[np.float32]:
    """Luminance (ITU-R 601) in [0, 1] of every value that a palette file can store.

    Raises:
        BadElement: the palette cannot be used.
    """
    from pydicom.pixels.processing import apply_color_lut

    values = np.arange(1 << layout.bits_stored, dtype=np.uint8 if layout.bits_stored <= 8 else np.uint16)
    try:
        colours = apply_color_lut(values[None], dataset)[0]
    except Exception:  # whatever a broken palette leads to
        raise BadElement("its palette is damaged or missing") from None
    return np.asarray(colours @ np.array(LUMINANCE) / np.iinfo(colours.dtype).max, np.float32)


def lut_is_for_display(dataset: Dataset) -> bool:
    """Whether the modality LUT leads to the display.

    In XA and XRF objects of relationship LOG or DISP it leads from stored values back to beam intensity, for
    measurements (PS3.3 C.8.7.1.1.2).
    """
    backwards = uid(dataset, "SOPClassUID") in _X_RAY_CLASSES
    return not (backwards and code(dataset, "PixelIntensityRelationship") in ("LOG", "DISP"))


def _read_modality(dataset: Dataset, transformed: Dataset, signed: bool) -> Rescale | Lut:
    tables = items(dataset, "ModalityLUTSequence")
    if tables:
        return read_lut(tables[0], signed) if lut_is_for_display(dataset) else Rescale()
    slope, intercept = number(transformed, "RescaleSlope"), number(transformed, "RescaleIntercept")
    # A slope of 0 would make every frame constant; files that hold one mean none.
    return Rescale(slope or 1.0, intercept or 0.0)


def _read_interest(dataset: Dataset, signed: bool) -> Window | Lut | None:
    tables = items(dataset, "VOILUTSequence")
    if tables:
        return read_lut(tables[0], signed)
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if not centers or not widths:
        return None
    function = code(dataset, "VOILUTFunction") or "LINEAR"
    if function not in FUNCTIONS:
        raise BadElement(f"VOILUTFunction is {function}; need one of {', '.join(FUNCTIONS)}")
    if widths[0] <= 0 or (function == "LINEAR" and widths[0] < 1):
        return None  # no window can be meant; some devices write 0 for none
    return Window(centers[0], widths[0], function)


def read_lut(item: Dataset, signed: bool) -> Lut:
    """A look-up table from an item of ModalityLUTSequence or VOILUTSequence.

    Raises:
        BadElement: its descriptor and its entries do not fit each other.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        raise BadElement(f"LUTDescriptor holds {len(descriptor)} values; need 3")
    count, first, bits = (int(part) for part in descriptor)
    count = count % 65536 or 65536  # 0 stands for 2^16; some write it as a negative number
    if signed and first >= 32768:
        first -= 65536
    if not 1 <= bits <= 16:
        raise BadElement(f"LUTDescriptor names {bits} bits; need 1 to 16")
    big = item.original_encoding[1] is False  # words are left as they lie in the file
    entries = _lut_entries(value_of(item, "LUTData"), count, ">u2" if big else "<u2")
    if len(entries) != count:
        raise BadElement(f"LUTDescriptor names {count} entries, LUTData holds {len(entries)}")
    return Lut(first, entries, bits)


def _lut_entries(data: Any, count: int, word: str) -> npt.NDArray[np.uint16]:
    """Entries as 16 bit numbers; 8 bit entries may be packed two to a word."""
    if isinstance(data, bytes):
        packed = len(data) in (count, count + 1) and count > 1
        return (
            np.frombuffer(data[: len(data) // 2 * 2], word).astype(np.uint16)
            if not packed
            else np.frombuffer(data, np.uint8)[:count].astype(np.uint16)
        )
    try:
        return np.atleast_1d(np.asarray([] if data is None else data, dtype=np.int64)).astype(np.uint16)
    except (TypeError, ValueError, OverflowError):
        raise BadElement("LUTData holds no numbers") from None
