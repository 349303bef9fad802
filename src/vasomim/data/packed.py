"""Packs: frames, masks and an index in a few large files, of which a window of a frame is read without the rest.

    PACK/pack.json         settings, number of frames, and the parts with the hash of each index; written last
    PACK/part_00000.json   an entry a frame: id, patient, hash of its pixels, size, where its bytes lie, their checksum
    PACK/part_00000.bin    the bytes: of each frame its grey values, then extracted vessels and annotated mask

Nothing but ids, patients and hashes is kept of where a frame came from. `vasomim.data.packing` makes packs.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vasomim.data.codecs import Bits, Codec, Levels, decode_bits, decode_levels, to_unit_range
from vasomim.data.samples import FrameDataset, LazySample, Subset
from vasomim.errors import DataError, MisuseError
from vasomim.files import stays_inside
from vasomim.types import BoolImage, FloatImage, Record, Sample

HEAD = "pack.json"
"""Says that a folder is a whole pack."""
PLAN = "pack_plan.json"
"""Says that a folder is a pack in the making."""
VERSION = 1
ALIGNMENT = 64
"""Bytes that a plane's place is a multiple of."""
PLANES = ("image", "vessels", "mask")
"""What is kept of a frame, in this order."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How frames are stored."""

    size: int | None = None
    """Side that frames and masks were resized to; None is native size."""
    bits: Literal["auto", 8, 16] = "auto"
    """Bits of a grey value; `auto`: 8 or 16, as each frame had them."""
    codec: Codec = "raw"
    quality: int | None = None
    """1 to 100, of webp and jpeg; None is lossless."""
    vessels: str | None = None
    """What extracted the vessels; None where the pack holds none."""
    labels: str | None = None
    """Rasteriser of the annotated masks; None where the pack holds none."""

    def planes(self) -> tuple[str, ...]:
        """What the pack holds of each frame."""
        held = {"image": True, "vessels": self.vessels is not None, "mask": self.labels is not None}
        return tuple(name for name in PLANES if held[name])


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a frame lies in its part, and what is needed to read it."""

    id: str
    patient: str | None
    digest: str
    """`frame_hash` of the frame as it was read, before any resizing or rounding."""
    shape: tuple[int, int]
    bits: int
    full_scale: int
    """What grey values are divided by to lie in [0, 1]."""
    span: tuple[int, int]
    """First byte and the one behind the last, planes and the gaps between them."""
    planes: tuple[tuple[int, int], ...]
    """First byte and the one behind the last of each plane."""
    crc32: int
    """Checksum of the span."""


@dataclass(frozen=True)
class Part:
    """One pair of files of a pack."""

    name: str
    entries: Sequence[Entry]
    left_out: Sequence[str] = ()
    """Ids of frames that could not be packed."""

    def bin_path(self, folder: Path) -> Path:
        """Where its bytes are."""
        return folder / f"{self.name}.bin"

    def index_path(self, folder: Path) -> Path:
        """Where its entries are."""
        return folder / f"{self.name}.json"

    def to_json(self) -> bytes:
        """The content of its index."""
        content = {"frames": [asdict(entry) for entry in self.entries], "left_out": list(self.left_out)}
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, name: str, content: bytes) -> Part:
        """What `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: something else.
        """
        found = json.loads(content)
        return cls(name, [_entry(row) for row in found["frames"]], [str(frame) for frame in found["left_out"]])


def _entry(row: dict[str, Any]) -> Entry:
    spans = {"shape": tuple(row["shape"]), "span": tuple(row["span"])}
    return Entry(**{**row, **spans, "planes": tuple(tuple(plane) for plane in row["planes"])})


@dataclass(frozen=True)
class Head:
    """What pack.json says."""

    settings: PackSettings
    frames: int
    """Frames that were to be packed, those left out included."""
    source: str
    """Hash over what was to be packed: ids, patients, sizes of the files."""
    parts: tuple[tuple[str, str], ...] = ()
    """Name of each part and hash of its index."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that the pack holds: entries with their hashes and checksums."""
        return digest("".join(checksum for _, checksum in self.parts).encode())

    def to_json(self) -> bytes:
        """The content of pack.json."""
        content = {"vasomim_pack": VERSION, **asdict(self), "fingerprint": self.fingerprint}
        return (json.dumps(content, indent=1) + "\n").encode()


def digest(content: bytes) -> str:
    """Hash of an index."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def is_pack(folder: Path) -> bool:
    """Whether a folder is a pack, or one in the making."""
    return (folder / HEAD).is_file() or (folder / PLAN).is_file()


def read_head(folder: Path, name: str = HEAD) -> Head:
    """What a pack's first file says.

    Raises:
        MisuseError: no pack, an unfinished one, or one of another version.
        DataError: the file is damaged.
    """
    if name == HEAD and not (folder / HEAD).is_file():
        if (folder / PLAN).is_file():
            raise MisuseError(f"{folder} is an unfinished pack; run the `vasomim prepare` that began it once more")
        raise MisuseError(f"{folder} is no pack; make one: vasomim prepare FRAMES --out {folder}")
    try:
        found = json.loads((folder / name).read_bytes())
        version = found["vasomim_pack"]
        if version == VERSION:
            known = {field.name for field in fields(PackSettings)}
            settings = PackSettings(**{key: value for key, value in found["settings"].items() if key in known})
            parts = tuple((str(part), str(checksum)) for part, checksum in found["parts"])
            if not all(stays_inside(part) for part, _ in parts):
                raise ValueError("it names parts outside of its folder")
            return Head(settings, int(found["frames"]), str(found["source"]), parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"cannot read {folder / name} ({error}); {_AGAIN}") from error
    raise MisuseError(f"{folder} is a pack of version {version}, this vasomim reads version {VERSION}; {_AGAIN}")


def common_settings(paths: Sequence[Path]) -> PackSettings:
    """The vessels and labels that every path holds beside its frames: those of one kind, if all are packs of it."""
    heads = [read_head(path).settings if is_pack(path) else PackSettings() for path in paths]
    vessels, labels = {head.vessels for head in heads}, {head.labels for head in heads}
    return PackSettings(
        vessels=vessels.pop() if len(vessels) == 1 else None, labels=labels.pop() if len(labels) == 1 else None
    )


_AGAIN = "copy the pack again, or make it again with `vasomim prepare`"


def read_part(folder: Path, name: str, checksum: str | None) -> Part:
    """A part of a pack: its index is checked against the hash in pack.json, and that its bytes are all there.

    Raises:
        DataError: a file is missing, damaged or truncated.
    """
    path = folder / f"{name}.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; {_AGAIN}") from error
    if checksum is not None and digest(content) != checksum:
        raise DataError(f"{path} is damaged: its checksum is not the one in {HEAD}; {_AGAIN}")
    try:
        part = Part.from_json(name, content)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no index of a pack ({error}); {_AGAIN}") from error
    _check_length(part, folder)
    return part


def _check_length(part: Part, folder: Path) -> None:
    path, wanted = part.bin_path(folder), part.entries[-1].span[1] if part.entries else 0
    if not path.is_file():
        raise DataError(f"{path} is missing, with {_frames(part.entries)}; {_AGAIN}")
    if path.stat().st_size != wanted:
        gone = [entry for entry in part.entries if entry.span[1] > path.stat().st_size]
        lost = f", without {_frames(gone)}" if gone else ""
        raise DataError(f"{path} holds {path.stat().st_size} bytes, not {wanted}{lost}; {_AGAIN}")


def _frames(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return f"frame {entries[0].id}"
    return f"{len(entries)} frames from {entries[0].id} to {entries[-1].id}" if entries else "no frame"


def damages(folder: Path, part: Part) -> list[str]:
    """A line for each frame of a part whose bytes are not those that were written."""
    path = part.bin_path(folder)
    found = []
    with path.open("rb") as file:
        for entry in part.entries:
            file.seek(entry.span[0])
            if zlib.crc32(file.read(entry.span[1] - entry.span[0])) != entry.crc32:
                found.append(f"{path}: frame {entry.id} is damaged, its checksum differs; {_AGAIN}")
    return found


class PackDataset:
    """Frames of a pack by index: the samples of the folder it was made from, ids, patients and hashes included."""

    def __init__(self, folder: Path, *, labels: bool = False) -> None:
        """Read the index; no pixel is read.

        Args:
            folder: made by `vasomim.data.packing.pack_frames`.
            labels: whether samples get their annotated masks.

        Raises:
            MisuseError, DataError: see `read_head` and `read_part`; without labels where they are asked for.
        """
        head = read_head(folder)
        if labels and head.settings.labels is None:
            raise MisuseError(f"{folder} holds no labels; make it again from labelled frames with --labels")
        self.folder, self.settings, self.labels = folder, head.settings, labels
        self.records: list[Record] = []
        self._parts: list[Path] = []
        numbers: list[tuple[int, ...]] = []
        for name, checksum in head.parts:
            part = read_part(folder, name, checksum)
            path = part.bin_path(folder)
            for entry in part.entries:
                self.records.append(Record(entry.id, path, entry.patient, str(folder), digest=entry.digest))
                planes = [place for plane in entry.planes for place in plane]
                numbers.append((len(self._parts), *entry.shape, entry.bits, entry.full_scale, *planes))
            self._parts.append(path)
        if not self.records:
            raise DataError(f"{folder} holds no frame; {_AGAIN}")
        self._numbers = np.array(numbers, np.int64)
        self._planes = head.settings.planes()
        self._maps: dict[int, npt.NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """The sample, read and decoded.

        Raises:
            DataError: its bytes cannot be decoded.
        """
        lazy = self.lazily(index)
        mask = None if lazy.mask is None else np.asarray(lazy.mask)
        vessels = None if lazy.vessels is None else np.asarray(lazy.vessels)
        return Sample(lazy.record, np.asarray(lazy.image), mask=mask, vessels=vessels)

    def lazily(self, index: int) -> LazySample:
        """The sample, of which windows are read; compressed planes are decoded whole.

        Raises:
            DataError: as above.
        """
        levels, scale = self.levels(index)
        planes = {name: BitPlane(self.bits(index, name), levels.shape[1]) for name in self.mask_names()}
        return LazySample(self.records[index], GreyPlane(levels, scale), planes.get("mask"), planes.get("vessels"))

    def levels(self, index: int) -> tuple[Levels, int]:
        """Grey values of a frame as stored, uint8 or uint16 (H, W), and their full scale."""
        _, height, width, bits, scale = self._numbers[index, :5].tolist()
        content = self._plane(index, "image")
        decoded = self._decoded(index, lambda: decode_levels(content, self.settings.codec, (height, width), bits))
        return decoded, scale

    def bits(self, index: int, name: str) -> Bits:
        """The bits of a mask, uint8 (H, ceil(W / 8)); `name` is one of `mask_names()`."""
        content, shape = self._plane(index, name), self._numbers[index, 1:3].tolist()
        decoded: Bits = self._decoded(index, lambda: decode_bits(content, self.settings.codec, shape))
        return decoded

    def mask_names(self) -> tuple[str, ...]:
        """Which of `vessels` and `mask` samples have."""
        return tuple(name for name in self._planes[1:] if name != "mask" or self.labels)

    def shapes(self) -> npt.NDArray[np.int64]:
        """(N, 3): height, width and bits of every frame."""
        return self._numbers[:, 1:4]

    def _plane(self, index: int, name: str) -> npt.NDArray[np.uint8]:
        column = 5 + 2 * self._planes.index(name)
        start, stop = self._numbers[index, column : column + 2].tolist()
        return self._map(int(self._numbers[index, 0]))[start:stop]

    def _map(self, part: int) -> npt.NDArray[np.uint8]:
        """The bytes of a part, mapped into memory when they are first asked for."""
        if part not in self._maps:
            with self._parts[part].open("rb") as file:
                self._maps[part] = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        return self._maps[part]

    def _decoded(self, index: int, decode: Callable[[], Any]) -> Any:
        try:
            return decode()
        except ValueError as error:
            path, name = self.records[index].path, self.records[index].id
            raise DataError(f"{path}: frame {name} {error}; {_AGAIN}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Maps stay behind: another process makes its own."""
        return {**self.__dict__, "_maps": {}}


@dataclass(frozen=True, slots=True)
class GreyPlane:
    """The grey values of a frame in a pack, float32 in [0, 1] where they are read."""

    levels: Levels
    full_scale: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.levels.shape[0], self.levels.shape[1]

    def __getitem__(self, window: tuple[slice, slice]) -> FloatImage:
        return to_unit_range(self.levels[window], self.full_scale)

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:, :], dtype, copy=None if copy else copy)


@dataclass(frozen=True, slots=True)
class BitPlane:
    """A mask in a pack, bool where it is read."""

    bits: Bits
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.bits.shape[0], self.width

    def __getitem__(self, window: tuple[slice, slice]) -> BoolImage:
        rows, columns = window
        start, stop, _ = columns.indices(self.width)
        first = start // 8
        whole = np.unpackbits(self.bits[rows, first : -(-stop // 8)], axis=1)
        return whole[:, start - 8 * first : stop - 8 * first].view(np.bool_)

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:, :], dtype, copy=None if copy else copy)


def packed_frames(dataset: FrameDataset) -> tuple[PackDataset, list[int]] | None:
    """The pack, and the frames of it, that a data set is made of; None where it is made of anything else."""
    if isinstance(dataset, PackDataset):
        return dataset, list(range(len(dataset)))
    if not isinstance(dataset, Subset):
        return None
    found = packed_frames(dataset.dataset)
    return None if found is None else (found[0], [found[1][index] for index in dataset.indices])
