"""What the tests of the data floor build their inputs with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim.types import Record, Sample


def grey(seed: int = 0, height: int = 24, width: int = 32) -> np.ndarray:
    """Random uint8 frame."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    """Write a picture, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)
    return path


@dataclass(frozen=True)
class MemoryDataset:
    """Frames that never were on disk."""

    samples: Sequence[Sample]

    @property
    def records(self) -> Sequence[Record]:
        return [sample.record for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def memory(count: int, patients: Sequence[str | None] | None = None, source: str = "memory") -> MemoryDataset:
    """`count` distinct frames with masks, ids 0, 1, ..."""
    samples = []
    for index in range(count):
        image = np.random.default_rng(index).random((24, 32), np.float32)
        patient = patients[index] if patients else None
        record = Record(str(index), Path(f"/nowhere/{index}.png"), patient, source)
        samples.append(Sample(record, image, mask=image > 0.5))
    return MemoryDataset(samples)


SQUARE = [4.0, 4.0, 20.0, 4.0, 20.0, 16.0, 4.0, 16.0]


def coco(images: Sequence[str], annotations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A COCO file of 32 x 24 frames; annotation ids repeat on purpose."""
    return {
        "images": [{"id": k, "file_name": name, "width": 32, "height": 24} for k, name in enumerate(images, 1)],
        "annotations": [{"id": 7, **annotation} for annotation in annotations],
        "categories": [{"id": k, "name": str(k)} for k in range(1, 26)] + [{"id": 26, "name": "stenosis"}],
    }


def hash_of(name: str) -> int:
    """A small number of a name, the same in every process."""
    return sum(name.encode()) * 100
