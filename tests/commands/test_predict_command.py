"""`vasomim predict` as it is called: exit codes, stdout, messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.commands.predict import run
from vasomim.config import PredictConfig
from vasomim.data.frames import write_png
from vasomim.errors import CheckpointError, MisuseError
from vasomim.files import contents
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    facts = {
        "kind": "segmentation",
        "model": "vit_test_unet",
        "kwargs": {"img_size": 32},
        "inference": {"mode": "resize", "size": 32},
        "threshold": 0.5,
    }
    save_pretrained(tmp_path / "run" / "export", create_model("vit_test_unet", img_size=32), facts, "A test.")
    return str(tmp_path / "run")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for k in range(3):
        write_png(tmp_path / "frames" / f"{k}.png", rng.integers(0, 256, (40, 50), dtype=np.uint8))
    return tmp_path / "frames"


def settings(frames: Path, weights: str | None, **more: object) -> PredictConfig:
    return PredictConfig(inputs=(frames,), out=frames.parent / "out", weights=weights, device="cpu", **more)  # type: ignore[arg-type]


def test_predict__writes_masks_and_prints_json_alone(
    frames: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings(frames, weights), json=True, verbose=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["predicted"], result["skipped"], result["failed"]) == (3, 3, 0, 0)
    assert (result["weights"], result["mode"], result["size"]) == ("run", "resize", 32)
    assert 0 <= result["vessel_share"] <= 1
    for kind in ("masks", "overlays", "probability"):
        assert len(list((frames.parent / "out" / kind).glob("*.png"))) == 3


def test_predict__says_that_pictures_are_not_smoothed(
    frames: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings(frames, weights, smoothing=1)) == 0
    assert "--smoothing is for DICOM runs; 3 picture(s) are predicted one by one" in capsys.readouterr().err


def test_predict__takes_the_output_asked_for(frames: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    kwargs = {"img_size": 32, "num_classes": 2}
    outputs = [{"name": "main", "threshold": 0.4}, {"name": "full-tree", "threshold": 0.7}]
    facts = {"kind": "segmentation", "model": "vit_test_unet", "kwargs": kwargs, "outputs": outputs}
    save_pretrained(tmp_path / "two" / "export", create_model("vit_test_unet", **kwargs), facts, "A test.")
    assert run(settings(frames, str(tmp_path / "two"), output="full-tree"), json=False, verbose=False) == 0
    books = json.loads((frames.parent / "out" / "predictions.json").read_text())
    assert (books["settings"]["output"], books["settings"]["threshold"]) == ("full-tree", 0.7)
    with pytest.raises(MisuseError, match="no output 'tree'"):
        run(settings(frames, str(tmp_path / "two"), output="tree"), json=False, verbose=False)


def test_predict__again_skips_and_prints_lines(frames: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(settings(frames, weights), json=False, verbose=False)
    capsys.readouterr()
    assert run(settings(frames, weights), json=False, verbose=False) == 0
    assert "skipped: 3" in capsys.readouterr().out


def test_predict__a_file_and_masks_alone(frames: Path, weights: str) -> None:
    config = PredictConfig(
        inputs=(frames / "1.png",),
        out=frames.parent / "one",
        weights=weights,
        device="cpu",
        overlays=False,
        probability=False,
        inference="tile",
        threshold=0.4,
    )
    assert run(config, json=True, verbose=False) == 0
    assert contents(config.out) == ["masks", "predictions.json"]
    assert [path.name for path in (config.out / "masks").iterdir()] == ["1.png"]


def test_predict__a_broken_frame_is_one_line_and_exit_code_1(
    frames: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (frames / "broken.png").write_bytes(b"\x89PNG nothing")
    assert run(settings(frames, weights), json=True, verbose=False) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["failed"] == 1
    assert "broken.png" in captured.err
    assert "Traceback" not in captured.err


def test_predict__one_bad_frame_in_thirty(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for k in range(30):
        write_png(tmp_path / "frames" / f"{k}.png", rng.integers(0, 256, (40, 50), dtype=np.uint8))
    whole = (tmp_path / "frames" / "17.png").read_bytes()
    (tmp_path / "frames" / "17.png").write_bytes(whole[: len(whole) // 2])
    assert run(settings(tmp_path / "frames", weights), json=True) == 1
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert (result["frames"], result["predicted"], result["failed"]) == (30, 29, 1)
    assert [line for line in shown.err.splitlines() if "17.png" in line]
    made = sorted(int(path.stem) for path in (tmp_path / "out" / "masks").iterdir())
    assert made == [k for k in range(30) if k != 17]
    assert list(json.loads((tmp_path / "out" / "predictions.json").read_text())["failures"]) == ["17"]


def test_predict__misuse_is_named_before_anything_is_written(frames: Path, weights: str, tmp_path: Path) -> None:
    wrong = [
        (PredictConfig(out=tmp_path / "out", weights=weights), "got no frames"),
        (settings(tmp_path / "none", weights), "no such file"),
        (settings(frames, str(tmp_path / "none")), "no weights at"),
        (settings(frames, weights, threshold=1.5), "threshold"),
        (settings(frames, weights, batch_size=0), "batch_size"),
    ]
    for config, message in wrong:
        with pytest.raises(MisuseError, match=message):
            run(config, json=False, verbose=False)
        assert not (tmp_path / "out").exists()


def test_predict__corrupt_weights(frames: Path, weights: str) -> None:
    file = Path(weights) / "export" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="corrupt"):
        run(settings(frames, weights), json=False, verbose=False)
