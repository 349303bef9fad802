"""What a set of frames is, and how sets are cut, joined and enriched without reading a pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vasomim.errors import DataError, MisuseError
from vasomim.types import BoolImage, Record, Sample


class FrameDataset(Protocol):
    """Frames by index. Records are at hand; pixels are read when a sample is asked for, and not kept."""

    @property
    def records(self) -> Sequence[Record]:
        """What is known of each frame, in order; ids are unique."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Picture(Protocol):
    """What a frame or mask offers to a crop: an array in memory, or a plane of a pack that reads windows alone."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""

    def __getitem__(self, window: tuple[slice, slice], /) -> npt.NDArray[Any]: ...

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> npt.NDArray[Any]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class LazySample:
    """A sample whose pixels are read where, and only where, a window of them is asked for."""

    record: Record
    image: Picture
    """(H, W); windows are float32 in [0, 1]."""
    mask: Picture | None = None
    """(H, W); windows are bool."""
    vessels: Picture | None = None
    """(H, W); windows are bool."""


AnySample = Sample | LazySample
Change = Callable[[AnySample], AnySample]

NUMBERED = "dicom "
"""What patients begin with that are numbers, as of DICOM files: among those of another set they mean nothing."""


def read_lazily(dataset: FrameDataset, index: int) -> AnySample:
    """The sample at `index`, its pixels left unread where the data set can read windows of them."""
    lazily = getattr(dataset, "lazily", None)
    sample: AnySample = dataset[index] if lazily is None else lazily(index)
    return sample


def check_alike(parts: Iterable[str], others: Iterable[str]) -> None:
    """Raise DataError unless two samples of a batch have the same parts, such as image and mask."""
    first, second = (", ".join(sorted({*names} - {"index", "epoch"})) for names in (parts, others))
    if first != second:
        raise DataError(f"frames of one batch have different parts: {first} and {second}; label all frames or none")


class VesselSource(Protocol):
    """Where extracted anatomy comes from."""

    def load(self, record: Record) -> BoolImage:
        """bool (H, W) at the frame's native size."""


def subset(dataset: FrameDataset, indices: Sequence[int]) -> FrameDataset:
    """The frames at `indices`, in that order."""
    return Subset(dataset, [int(index) for index in indices])


def concatenate(datasets: Sequence[FrameDataset]) -> FrameDataset:
    """All frames of several sets, in order.

    Where an id occurs in two sets, every id gets its set's root folder in front: as many of the root's last parts as
    are needed to tell the roots apart (`syntax/train/1`, `stenosis/train/1`). Otherwise ids stay as they are. Patients
    that are numbers of one set, as those of DICOM files are, stay apart from equal numbers of another.

    Raises:
        MisuseError: no set, or the same root twice, so that no prefix tells the frames apart.
    """
    if not datasets:
        raise MisuseError("got no frames; name at least one folder")
    if len(datasets) == 1:
        return datasets[0]
    parts = _numbered_apart([dataset.records for dataset in datasets])
    records = [record for part in parts for record in part]
    if len({record.id for record in records}) == len(records):
        return _Concatenation(datasets, records)
    prefixes = distinct_tails([_root(dataset) for dataset in datasets])
    records = [
        dataclasses.replace(record, id=f"{prefix}/{record.id}")
        for prefix, part in zip(prefixes, parts, strict=True)
        for record in part
    ]
    return _Concatenation(datasets, records)


def _numbered_apart(parts: Sequence[Sequence[Record]]) -> Sequence[Sequence[Record]]:
    """Records of several sets; where more than one has `NUMBERED` patients, these get the number of their set too."""
    if sum(any(map(_is_numbered, part)) for part in parts) < 2:
        return parts
    return [
        [
            dataclasses.replace(record, patient=f"{NUMBERED}{place}.{(record.patient or '').removeprefix(NUMBERED)}")
            if _is_numbered(record)
            else record
            for record in part
        ]
        for place, part in enumerate(parts)
    ]


def _is_numbered(record: Record) -> bool:
    return record.patient is not None and record.patient.startswith(NUMBERED)


def with_vessels(dataset: FrameDataset, store: VesselSource) -> FrameDataset:
    """The same frames with `Sample.vessels` read from `store`."""
    return changed(dataset, partial(_add_vessels, store))


def _add_vessels(store: VesselSource, sample: AnySample) -> AnySample:
    vessels = store.load(sample.record)
    if vessels.shape != sample.image.shape:
        raise DataError(
            f"frame {sample.record.id} is {_size(sample.image.shape)} but its extracted vessels are "
            f"{_size(vessels.shape)}; extract them again from these frames"
        )
    return dataclasses.replace(sample, vessels=vessels)


def changed(dataset: FrameDataset, change: Change) -> FrameDataset:
    """The same frames, each sample changed when it is read."""
    return _Changed(dataset, change)


def vessels_as_labels(dataset: FrameDataset) -> FrameDataset:
    """The same frames, their extracted vessels taken for labels (pseudo-labels)."""
    return changed(dataset, _with_vessels_as_mask)


def _with_vessels_as_mask(sample: AnySample) -> AnySample:
    return dataclasses.replace(sample, mask=np.asarray(sample.vessels))


def _root(dataset: FrameDataset) -> str:
    return dataset.records[0].source if len(dataset.records) else ""


def distinct_tails(roots: Sequence[str]) -> list[str]:
    """The shortest equal number of last path parts that tells all roots apart.

    Raises:
        MisuseError: two roots are one.
    """
    parts = [PurePath(root).parts for root in roots]
    for length in range(1, max(map(len, parts)) + 1):
        tails = ["/".join(part.strip("/\\:") for part in path[-length:]).strip("/") for path in parts]
        if len(set(tails)) == len(roots):
            return tails
    raise MisuseError(f"the same frames are given twice, below {', '.join(sorted(set(roots)))}; name each folder once")


class Subset:
    """Some frames of a data set, unchanged."""

    def __init__(self, dataset: FrameDataset, indices: list[int]) -> None:
        self.dataset, self.indices = dataset, indices
        self.records: Sequence[Record] = [dataset.records[index] for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]

    def lazily(self, index: int) -> AnySample:
        return read_lazily(self.dataset, self.indices[index])


class _Concatenation:
    def __init__(self, datasets: Sequence[FrameDataset], records: Sequence[Record]) -> None:
        self.datasets, self.records = list(datasets), records
        self.where = [(part, index) for part, dataset in enumerate(datasets) for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: int) -> Sample:
        part, inner = self.where[index]
        return dataclasses.replace(self.datasets[part][inner], record=self.records[index])

    def lazily(self, index: int) -> AnySample:
        part, inner = self.where[index]
        return dataclasses.replace(read_lazily(self.datasets[part], inner), record=self.records[index])


class _Changed:
    def __init__(self, dataset: FrameDataset, change: Change) -> None:
        self.dataset, self.change = dataset, change
        self.records = dataset.records

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.change(self.dataset[index])
        assert isinstance(sample, Sample)
        return sample

    def lazily(self, index: int) -> AnySample:
        return self.change(read_lazily(self.dataset, index))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
