from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_tools import MemoryDataset, memory

from vasomim.data.statistics import pixel_statistics
from vasomim.errors import DataError, MisuseError
from vasomim.types import Record, Sample


def test_pixel_statistics__of_all_pixels() -> None:
    dataset = memory(7)
    pixels = np.stack([dataset[index].image for index in range(7)]).astype(np.float64)
    np.testing.assert_allclose(pixel_statistics(dataset), (pixels.mean(), pixels.std()), rtol=1e-6)


def test_pixel_statistics__looks_at_no_more_than_the_limit() -> None:
    seen: list[int] = []

    class Counting(MemoryDataset):
        def __getitem__(self, index: int) -> Sample:
            seen.append(index)
            return super().__getitem__(index)

    dataset = Counting(memory(20).samples)
    assert pixel_statistics(dataset, limit=4) == pixel_statistics(dataset, limit=4)
    assert len(seen) == 8
    assert len(set(seen)) == 4


def test_pixel_statistics__constant_frames_or_none() -> None:
    flat = Sample(Record("0", Path("0.png")), np.full((4, 4), 0.25, np.float32))
    with pytest.raises(DataError, match=r"one grey value 0\.25"):
        pixel_statistics(MemoryDataset([flat]))
    with pytest.raises(MisuseError, match="no frame"):
        pixel_statistics(MemoryDataset([]))
