"""How a file stores its pixels, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from vasomim.data.dicom.elements import BadElement, Dataset, code, integer, number

MAX_PIXELS = 1 << 25
"""Largest Rows x Columns, 33.5 million; the largest X-ray detectors have 20."""
MAX_FRAMES = 100_000
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """What the Image Pixel module says (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    num_frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        # Two chroma samples serve two pixels (PS3.3 C.7.6.3.1.2).
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def lowest(self) -> int:
        """Smallest value that can be stored."""
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest value that can be stored."""
        return self.lowest + (1 << self.bits_stored) - 1


def read_layout(dataset: Dataset) -> PixelLayout:
    """The layout of a file's pixels.

    Raises:
        BadElement: missing, contradictory, unsupported or too large.
    """
    allocated = integer(dataset, "BitsAllocated")
    stored = integer(dataset, "BitsStored", allocated)
    layout = PixelLayout(
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        num_frames=integer(dataset, "NumberOfFrames", 1),
        samples=integer(dataset, "SamplesPerPixel", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=integer(dataset, "HighBit", stored - 1),
        signed=integer(dataset, "PixelRepresentation", 0) == 1,
        photometric=code(dataset, "PhotometricInterpretation"),
        planar=integer(dataset, "PlanarConfiguration", 0),
    )
    _check_size(layout)
    _check_kind(layout)
    return layout


def read_padding(dataset: Dataset, layout: PixelLayout) -> tuple[int, int] | None:
    """First and last of the stored values that stand for no tissue (PS3.3 C.7.5.1.1.2); None where none are named."""
    try:
        value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    except BadElement:  # it says where there is nothing to see: nobody need stop for it
        return None
    if value is None:
        return None
    ends = sorted(_as_stored(int(end), layout) for end in (value, value if limit is None else limit))
    return ends[0], ends[1]


def _as_stored(value: int, layout: PixelLayout) -> int:
    """A value that a writer took for unsigned in a signed file, or the other way round, as the pixels hold it."""
    span = 1 << layout.bits_allocated
    return (value + span // 2) % span - span // 2 if layout.signed else value % span


def _check_size(layout: PixelLayout) -> None:
    rows, columns, frames = layout.rows, layout.columns, layout.num_frames
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise BadElement(f"frames of {columns} x {rows} pixels; need at least 1 and at most {MAX_PIXELS} pixels")
    if not 1 <= frames <= MAX_FRAMES:
        raise BadElement(f"NumberOfFrames is {frames}; need 1 to {MAX_FRAMES}")


def _check_kind(layout: PixelLayout) -> None:
    allocated, stored, high = layout.bits_allocated, layout.bits_stored, layout.high_bit
    if allocated not in (8, 16) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise BadElement(f"{stored} bits stored in {allocated}, high bit {high}; need 8 to 16 bits stored in 8 or 16")
    samples = {**dict.fromkeys((*GREY, PALETTE), 1), **dict.fromkeys(COLOUR, 3)}
    if samples.get(layout.photometric) != layout.samples:
        raise BadElement(
            f"{layout.samples} sample(s) a pixel of photometric interpretation {layout.photometric or 'unknown'}; "
            f"need 1 of {', '.join(GREY)} or {PALETTE}, or 3 of {', '.join(COLOUR)}"
        )
    if layout.samples > 1 and layout.signed:
        raise BadElement("signed colours, which have no meaning")
    if layout.photometric == "YBR_FULL_422" and layout.columns % 2:
        raise BadElement("YBR_FULL_422 with an odd number of columns")
