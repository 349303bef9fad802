from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_tools import grey

from vasomim.data.frames import read_pixels
from vasomim.data.preview import MOST, spread, write_preview


@pytest.mark.parametrize("count", [0, 1, 5, 12, 13, 23, 24, 1000])
def test_spread__is_even_over_all_items(count: int) -> None:
    picked = spread(range(count))
    assert len(picked) == min(count, MOST)
    assert picked == sorted(set(picked))
    if count:
        steps = np.diff([*picked, count])
        assert picked[0] == 0
        assert steps.max() - steps.min() <= 1


def test_write_preview__pairs_in_rows_of_three(tmp_path: Path) -> None:
    frames = [grey(k, 40, 30).astype(np.float32) / 255 for k in range(4)]
    path = write_preview(tmp_path / "preview.png", ((frame, frame > 0.5) for frame in frames))
    assert path == tmp_path / "preview.png"
    height, width = read_pixels(path).shape
    assert height > 2 * 256
    assert width > 6 * 256


def test_write_preview__nothing_without_frames(tmp_path: Path) -> None:
    assert write_preview(tmp_path / "preview.png", []) is None
    assert not (tmp_path / "preview.png").exists()
