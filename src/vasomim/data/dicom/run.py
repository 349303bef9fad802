"""A DICOM run: opened without its pixels, decoded frame by frame."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.choice import BEST, parse_frames
from vasomim.data.dicom.contrast import best_frame
from vasomim.data.dicom.decoding import NATIVE, decode, require_codec
from vasomim.data.dicom.elements import BadElement, Dataset
from vasomim.data.dicom.facts import RunFacts, read_facts
from vasomim.data.dicom.fragments import Extent, encapsulated_extents, native_extents, read_extents
from vasomim.data.dicom.grey import Rendering, logarithmic_table, luminance, palette_table, read_renderings
from vasomim.data.dicom.layout import GREY, PALETTE, PixelLayout, read_layout, read_padding
from vasomim.data.dicom.parsing import Header, in_one_line, quiet, read_header
from vasomim.data.dicom.spans import Span, measured_span
from vasomim.data.dicom.subtraction import MaskRule, Values, mask_of, read_rules, rule_for, subtracted
from vasomim.errors import DataError
from vasomim.types import FloatImage

OPEN_RUNS = 32
"""Runs that a process keeps: headers, grey tables and, of a subtracted run, its last mask; no frames, no open files."""
MEASURED_SPANS = 4096
"""Grey scales that a process keeps: a run that is opened again need not be sampled again."""
Key = tuple[Any, ...]
T = TypeVar("T")
_log = logging.getLogger(__name__)
_measured: OrderedDict[Key, Span] = OrderedDict()
_runs: OrderedDict[Key, DicomRun] = OrderedDict()
_lock = threading.Lock()


def open_run(path: Path | str, name: str | None = None, *, subtract: bool = False) -> DicomRun:
    """Open a file with pixels; none is decoded. A run that is no X-ray angiogram (XA) is logged as such.

    Args:
        path: file.
        name: what messages call the file; its path where None.
        subtract: give frames less their mask where the file recommends to view it so (RecommendedViewingMode SUB).

    Raises:
        MisuseError: there is no such file.
        MissingExtraError: pydicom or, for some encodings, GDCM is not installed.
        DataError: no DICOM, damaged, truncated, without pixels, or of a kind that is not supported.
    """
    run = _open(Path(path), str(path) if name is None else name, subtract)
    if not run.facts.is_angiogram:
        _log.warning("%s is not of the XA class; its grey scale may not be that of an angiogram", run.name)
    if run.left_out:
        _log.warning("%s: %s", run.name, run.says_too_few)
    return run


def cached_run(path: Path, name: str, *, subtract: bool = False) -> DicomRun:
    """As `open_run`, but a file opened before and not changed since is not read again, and nothing is logged."""
    try:
        stat = path.stat()
    except OSError:
        return _open(path, name, subtract)  # which says what is wrong
    key = (path, name, subtract, stat.st_mtime_ns, stat.st_size)
    return _kept(_runs, key, lambda: _open(path, name, subtract), OPEN_RUNS)


def _kept(held: OrderedDict[Key, T], key: Key, make: Callable[[], T], limit: int) -> T:
    """What is held under a key, made where it is missing; beyond the limit the longest unused goes."""
    with _lock:
        if key in held:
            held.move_to_end(key)
            return held[key]
    made = make()  # without the lock: threads that open other runs need not wait
    with _lock:
        held[key] = made
        while len(held) > limit:
            held.popitem(last=False)
    return made


def _open(path: Path, name: str, subtract: bool) -> DicomRun:
    header = read_header(path, name)
    with in_one_line(name), quiet():
        return DicomRun(path, name, header, subtract=subtract)


class DicomRun:
    """The frames of a DICOM file, each decoded when asked for and not kept. Made by `open_run`."""

    def __init__(self, path: Path, name: str, header: Header, *, subtract: bool = False) -> None:
        self.path, self.name = path, name
        self.dataset: Dataset = header.dataset
        """Everything in the file but the pixels, identity included; read it inside `quiet`, write none of it down."""
        self._layout: PixelLayout = read_layout(header.dataset)
        require_codec(header.transfer_syntax, name)
        self.facts: RunFacts = read_facts(header.dataset, self._layout, header.transfer_syntax)
        self._pixel_vr = header.pixel_vr
        self._extents, self.left_out = _extents(path, header, self._layout)
        """Frames that the file holds beyond those that it claims; nobody reads them."""
        self._padding = read_padding(header.dataset, self._layout)
        self._renderings = read_renderings(header.dataset, len(self))
        self._key = (path, header.file_size, header.modified_ns)
        self._tables: dict[Rendering, npt.NDArray[np.float32]] = {}
        self._mask: tuple[MaskRule, Values] | None = None
        self._colour_table = palette_table(self.dataset, self._layout) if self._layout.photometric == PALETTE else None
        wanted = subtract and self.facts.viewing_mode == "SUB" and self._layout.photometric in GREY
        self._rules = read_rules(header.dataset, len(self)) if wanted else []
        self._log_table = logarithmic_table(self.dataset, self._renderings[0], self._layout) if self._rules else None

    def __len__(self) -> int:
        return self.facts.num_frames

    @property
    def subtracted(self) -> bool:
        """Whether `frame` gives frames less their mask."""
        return bool(self._rules)

    @property
    def says_too_few(self) -> str:
        """One line about the frames that are left out."""
        return (
            f"NumberOfFrames is {len(self)} or missing, but {self.left_out} more frame(s) are there and are left out; "
            "export the run again"
        )

    def stored(self, index: int) -> npt.NDArray[Any]:
        """The values stored in a frame: integers (H, W), or RGB (H, W, 3) where the file holds colours.

        Raises:
            IndexError: there is no such frame.
            DataError: the frame is damaged.
        """
        try:
            return decode(self.encoded(index), self._layout, self.facts.transfer_syntax, self._pixel_vr)
        except BadElement as error:
            raise DataError(f"{self.name}, frame {index}: {error}") from None

    def encoded(self, index: int) -> bytes:
        """The bytes of a frame as they lie in the file.

        Raises:
            IndexError: there is no such frame.
            DataError: the file has changed or cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"no frame {index} in a run of {len(self)}")
        try:
            return read_extents(self.path, self._extents[index], 2 * self._layout.frame_bytes + (1 << 16))
        except BadElement as error:
            raise DataError(f"{self.name}, frame {index}: {error}") from None
        except OSError as error:
            raise DataError(f"cannot read {self.name}: {error.strerror}; check that it is still there") from None

    def frame(self, index: int) -> FloatImage:
        """A frame as a viewer shows it: float32 (H, W) in [0, 1], vessels dark.

        In a subtracted run a frame outside of all mask rules comes as it is.

        Raises:
            IndexError: there is no such frame.
            DataError: the frame is damaged.
        """
        rule = rule_for(self._rules, index)
        if rule is not None:
            return self._shown_difference(rule, index)
        values = self.stored(index)
        if values.ndim == 3:
            return luminance(values, self._layout.bits_stored)
        table = self._grey_table(index) if self._colour_table is None else self._colour_table
        return self._looked_up(values, table)

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[FloatImage]:
        """Frames one after the other, all of them where None; one is in memory at a time."""
        for index in range(len(self)) if indices is None else indices:
            yield self.frame(index)

    def select(self, text: str | None) -> list[int]:
        """Indices of the frames that `text` asks for, see `parse_frames`; `best` decodes every frame once.

        Of a subtracted run without `text`, and for `best`, the frames that have a mask and are not part of it.

        Raises:
            MisuseError: as `parse_frames`.
        """
        if text is not None and text.strip() == BEST:
            return self._best()
        return [k for k in parse_frames(text, len(self)) if text is not None or self._is_worth_showing(k)]

    def content_hash(self) -> str:
        """12 hexadecimal digits of the first frame's bytes: names a run without naming anybody."""
        return hashlib.blake2b(self.encoded(0) + str(len(self)).encode(), digest_size=6).hexdigest()

    def _is_worth_showing(self, index: int) -> bool:
        return not self._rules or self._masked_by(index) is not None

    def _masked_by(self, index: int) -> MaskRule | None:
        """The rule of a frame, unless the frame is part of its own mask."""
        rule = rule_for(self._rules, index)
        return None if rule is None or index in rule.masks else rule

    def _best(self) -> list[int]:
        candidates = self.select(None)
        readable: list[int] = []

        def images() -> Iterator[FloatImage]:
            for index in candidates:
                try:
                    image = self.frame(index)
                except DataError:
                    continue  # whoever reads the chosen frame hears of it where all are damaged
                readable.append(index)
                yield image

        try:
            return [readable[best_frame(images())]]
        except ValueError:
            return candidates[:1]

    def _looked_up(self, values: npt.NDArray[Any], table: npt.NDArray[np.float32]) -> FloatImage:
        lowest = self._layout.lowest
        return np.take(table, values.astype(np.int64) - lowest if lowest else values, mode="clip")

    def _grey_table(self, index: int) -> npt.NDArray[np.float32]:
        rendering = self._renderings[index]
        table = self._tables.get(rendering)
        if table is None:
            fallback = self._span("frames", self._modality_values) if rendering.interest is None else None
            table = rendering.table(self._layout, fallback)
            if len(self._tables) >= 4:  # the frames of an enhanced object may all have windows of their own
                self._tables.clear()
            self._tables[rendering] = table
        return table  # not looked up again: another thread may have cleared the tables

    def _modality_values(self, index: int) -> npt.NDArray[Any]:
        """What the grey scale is measured on: padding, which may lie far from all tissue, has no part in it."""
        values = self.stored(index)
        if self._padding is not None:
            first, last = self._padding
            values = values[(values < first) | (values > last)]
        return self._renderings[0].modality(values.astype(np.float64))

    def _shown_difference(self, rule: MaskRule, index: int) -> FloatImage:
        span = self._span("differences", self._measurable)
        grey = span(self._difference(index, rule).astype(np.float64)).astype(np.float32)
        return np.float32(1) - grey if self._renderings[0].inverted else grey

    def _measurable(self, index: int) -> Values:
        """A difference that the grey scale is measured on; nothing of masks, which less themselves show no contrast."""
        rule = self._masked_by(index)
        return np.empty((0, 0), np.float32) if rule is None else self._difference(index, rule)

    def _difference(self, index: int, rule: MaskRule) -> Values:
        """A frame less its mask."""
        held = self._mask
        if held is None or held[0] != rule or not rule.masks:
            held = rule, mask_of(rule, index, self._logarithmic)
            self._mask = held
        return subtracted(rule, index, self._logarithmic, held[1])

    def _logarithmic(self, index: int) -> Values:
        assert self._log_table is not None
        return self._looked_up(self.stored(index), self._log_table)

    def _span(self, kind: str, values: Callable[[int], npt.NDArray[Any]]) -> Span:
        """The grey scale of the run, measured once in a process."""
        return _kept(_measured, (*self._key, kind), lambda: measured_span(values, len(self)), MEASURED_SPANS)


def _extents(path: Path, header: Header, layout: PixelLayout) -> tuple[Sequence[Sequence[Extent]], int]:
    """Where the frames lie, and how many lie behind those claimed."""
    if header.transfer_syntax not in NATIVE:
        return encapsulated_extents(path, header.pixels_at, layout.num_frames)
    return native_extents(
        header.pixels_at, header.pixels_length, header.file_size, layout.frame_bytes, layout.num_frames
    )
