"""A DICOM run: opened without its pixels, decoded frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.choice import BEST, parse_frames
from vasomim.data.dicom.decoding import NATIVE, decode, require_codec
from vasomim.data.dicom.elements import BadElement, Dataset
from vasomim.data.dicom.facts import RunFacts, read_facts
from vasomim.data.dicom.fragments import encapsulated_spans, native_spans, read_spans
from vasomim.data.dicom.grey import Rendering, Span, read_rendering
from vasomim.data.dicom.layout import GREY, PALETTE, PixelLayout, read_layout
from vasomim.data.dicom.parsing import Header, quiet, read_header
from vasomim.errors import DataError
from vasomim.types import FloatImage

SAMPLE_FRAMES = 8
"""Frames, spread over the run, whose values set the grey scale where the file names no window."""
PERCENTILES = (0.1, 99.9)
_log = logging.getLogger(__name__)


def open_run(path: Path | str, name: str | None = None) -> DicomRun:
    """Open a file with pixels; none is decoded.

    Args:
        path: file.
        name: what messages call the file; its path where None.

    Raises:
        MisuseError: there is no such file.
        MissingExtraError: pydicom or, for compressed files, GDCM is not installed.
        DataError: no DICOM, damaged, truncated, without pixels, or of a kind that is not supported.
    """
    path, shown = Path(path), str(path) if name is None else name
    header = read_header(path, shown)
    try:
        with quiet():
            return DicomRun(path, shown, header)
    except BadElement as error:
        raise DataError(f"{shown}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}; check its permissions and the disk") from None


class DicomRun:
    """The frames of a DICOM file, each decoded when asked for and not kept."""

    def __init__(self, path: Path, name: str, header: Header) -> None:
        self.path, self.name = path, name
        self.dataset: Dataset = header.dataset
        """Everything in the file but the pixels, identity included; read it inside `quiet`, write none of it down."""
        self._layout: PixelLayout = read_layout(header.dataset)
        require_codec(header.transfer_syntax, name)
        self.facts: RunFacts = read_facts(header.dataset, self._layout, header.transfer_syntax)
        self._pixel_vr = header.pixel_vr
        self._spans = _spans(path, header, self._layout)
        self._rendering: Rendering = read_rendering(header.dataset)
        self._fallback: Span | None = None
        self._table: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return self.facts.num_frames

    def stored(self, index: int) -> npt.NDArray[Any]:
        """The values stored in a frame: integers (H, W), or RGB (H, W, 3) where the file holds colours.

        Raises:
            IndexError: there is no such frame.
            DataError: the frame is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"no frame {index} in a run of {len(self)}")
        try:
            content = read_spans(self.path, self._spans[index])
            return decode(content, self._layout, self.facts.transfer_syntax, self._pixel_vr)
        except BadElement as error:
            raise DataError(f"{self.name}, frame {index}: {error}") from None
        except OSError as error:
            raise DataError(f"cannot read {self.name}: {error.strerror}; check that it is still there") from None

    def frame(self, index: int) -> FloatImage:
        """A frame as a viewer shows it: float32 (H, W) in [0, 1], vessels dark.

        Raises:
            IndexError: there is no such frame.
            DataError: the frame is damaged.
        """
        values = self.stored(index)
        if self._layout.photometric not in GREY:
            return _luminance(values, self._layout)
        table = self._grey_table()
        return np.take(table, values.astype(np.int64) - self._layout.lowest, mode="clip")

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[FloatImage]:
        """Frames one after the other, all of them where None; one is in memory at a time."""
        for index in range(len(self)) if indices is None else indices:
            yield self.frame(index)

    def select(self, text: str | None) -> list[int]:
        """Indices of the frames that `text` asks for, see `parse_frames`; `best` decodes every frame once.

        Raises:
            MisuseError: as `parse_frames`.
            DataError: for `best`, a frame is damaged.
        """
        if text is not None and text.strip() == BEST:
            raise NotImplementedError
        return list(parse_frames(text, len(self)))

    def _grey_table(self) -> npt.NDArray[np.float32]:
        if self._table is None:
            if self._rendering.interest is None and self._fallback is None:
                self._fallback = self._measured_span()
            self._table = self._rendering.table(self._layout, self._fallback)
        return self._table

    def _measured_span(self) -> Span:
        """Percentiles over frames of the whole run, so that every frame gets the same grey scale."""
        chosen = np.unique(np.linspace(0, len(self) - 1, SAMPLE_FRAMES).round().astype(int))
        low, high = self._layout.lowest, self._layout.highest
        counts = np.zeros(high - low + 1, np.int64)
        for index in chosen:
            values = np.clip(self.stored(int(index)).astype(np.int64), low, high) - low
            counts += np.bincount(values.ravel(), minlength=len(counts))
        values = self._rendering.modality(np.arange(low, high + 1, dtype=np.float64))
        order = np.argsort(values, kind="stable")
        share = np.cumsum(counts[order]) / counts.sum()
        ends = [values[order][np.searchsorted(share, part / 100)] for part in PERCENTILES]
        return Span(float(ends[0]), float(ends[1]))


def _spans(path: Path, header: Header, layout: PixelLayout) -> Any:
    if header.transfer_syntax not in NATIVE:
        return encapsulated_spans(path, header.pixels_at, layout.num_frames)
    return native_spans(header.pixels_at, header.pixels_length, header.file_size, layout.frame_bytes, layout.num_frames)


def _luminance(values: npt.NDArray[Any], layout: PixelLayout) -> FloatImage:
    """Colours to luminance (ITU-R 601), as for other pictures."""
    if layout.photometric == PALETTE:
        raise NotImplementedError
    scaled = values.astype(np.float32) / np.float32((1 << layout.bits_stored) - 1)
    return np.asarray(np.clip(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY), 0, 1), np.float32)
