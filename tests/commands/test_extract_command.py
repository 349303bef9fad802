"""`vasomim extract` from settings to exit code."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.commands.extract import run
from vasomim.config import ExtractConfig
from vasomim.errors import MisuseError


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(90, 110, (48, 64), np.uint8)
        cv2.line(noise, (8, 8 + 8 * seed), (55, 40), 40, 3)
        cv2.imwrite(str(folder / f"{seed}.png"), noise)
    return folder


def test_run__extracts_a_folder_and_says_so(frames, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(ExtractConfig(inputs=(frames,), out=out, workers=1, vesselness=True), json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"out": str(out), "method": "default", "extracted": 2, "cached": 0, "failed": 0}
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["0.png", "1.png"]
    assert sorted(path.name for path in (out / "vesselness").iterdir()) == ["0.png", "1.png"]
    assert (out / "preview.png").is_file()


def test_run__reports_a_broken_frame_and_fails(frames, tmp_path, capsys):
    (frames / "0.png").write_bytes(b"no picture")
    assert run(ExtractConfig(inputs=(frames,), out=tmp_path / "out", workers=1)) == 1
    captured = capsys.readouterr()
    assert "0.png" in captured.err
    assert "failed: 1" in captured.out
    assert (tmp_path / "out" / "masks" / "1.png").is_file()


def test_run__one_bad_frame_in_thirty(frames, tmp_path, capsys):
    for seed in range(2, 30):
        (frames / f"{seed}.png").write_bytes((frames / f"{seed % 2}.png").read_bytes())
    whole = (frames / "17.png").read_bytes()
    (frames / "17.png").write_bytes(whole[: len(whole) // 2])
    assert run(ExtractConfig(inputs=(frames,), out=tmp_path / "out", workers=1), json=True) == 1
    shown = capsys.readouterr()
    assert (json.loads(shown.out)["extracted"], json.loads(shown.out)["failed"]) == (29, 1)
    assert [line for line in shown.err.splitlines() if "17.png is truncated" in line]
    assert sorted(int(path.stem) for path in (tmp_path / "out" / "masks").iterdir()) == [*range(17), *range(18, 30)]


def test_run__accepts_single_files(frames, tmp_path):
    assert run(ExtractConfig(inputs=(frames / "1.png",), out=tmp_path / "out", workers=1), verbose=True) == 0
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["1.png"]


@pytest.mark.parametrize("inputs", [(), (Path("nowhere-at-all"),)])
def test_run__refuses_missing_input(inputs, tmp_path):
    with pytest.raises(MisuseError, match="no "):
        run(ExtractConfig(inputs=inputs, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
