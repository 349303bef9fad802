"""DICOM files among records: which frames are asked of each, and what a run and its frames are called in the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.listing import RUN_SUFFIXES, natural_key
from vasomim.types import Record


@dataclass(frozen=True)
class RunNames:
    """What a run and its frames are called in the output."""

    run: str
    frames: Mapping[int, str]
    """Id of each frame that is asked for, by its index in the run, ascending."""


@dataclass(frozen=True)
class RunFile:
    """A DICOM file and the frames that are asked of it."""

    records: tuple[Record, ...]
    """Of the frames; their ids give nobody away (see `expand_runs`)."""
    position: int
    """Of the file among all of the call, from 1."""
    own_name: str
    """The file's own name, which may name a patient; empty where two files share it."""

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.records[0].path

    @property
    def neutral_name(self) -> str:
        """What the file is called while nobody has compared its name with its content."""
        return f"run_{self.position:04d}"

    def names(self, num_frames: int, *, keep_identity: bool) -> RunNames:
        """The names to write under: those of the records, or after the file where identity is kept.

        Args:
            num_frames: how many the whole run has.
            keep_identity: take the file's own name, unless another file shares it.
        """
        ids = [record.id for record in self.records]
        name = ids[0].rpartition("/")[0] if num_frames > 1 else ids[0]
        if keep_identity and self.own_name:
            ids, name = [self.own_name + frame_id.removeprefix(name) for frame_id in ids], self.own_name
        indices = [record.frame or 0 for record in self.records]
        return RunNames(name, dict(zip(indices, ids, strict=True)))

    def possible_names(self) -> set[str]:
        """What `names` may have called the run when the file, which cannot be read now, could be."""
        first = self.records[0]
        return {first.id, first.id.removesuffix(f"/{(first.frame or 0) + 1:04d}"), self.own_name}


def group_by_file(records: Sequence[Record]) -> list[RunFile]:
    """Records of DICOM frames by their files, in natural order of their paths."""
    by_path: dict[Path, list[Record]] = {}
    for record in sorted(records, key=lambda record: natural_key(str(record.path))):
        by_path.setdefault(record.path, []).append(record)
    own_names = [_own_name(frames[0]) for frames in by_path.values()]
    counts = Counter(own_names)
    return [
        RunFile(tuple(frames), position, own_name if counts[own_name] == 1 else "")
        for position, (frames, own_name) in enumerate(zip(by_path.values(), own_names, strict=True), 1)
    ]


def _own_name(record: Record) -> str:
    """The path of a file below the folder that was named, without suffix."""
    root = Path(record.source)
    inner = record.path.relative_to(root) if root in record.path.parents else Path(record.path.name)
    return (inner.with_suffix("") if inner.suffix.lower() in RUN_SUFFIXES else inner).as_posix()
