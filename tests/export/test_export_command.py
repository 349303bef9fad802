"""`vasomim export` and what takes its folder: exit codes, stdout, messages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vasomim.commands.evaluate import run as evaluate
from vasomim.commands.export import run
from vasomim.commands.predict import run as predict
from vasomim.config import EvaluateConfig, ExportConfig, PredictConfig
from vasomim.data.frames import read_mask, write_png
from vasomim.errors import MissingExtraError, MisuseError
from vasomim.inference import backends
from vasomim.models.trained_on import read_trained_on

for module in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(module, reason="needs vasomim[export]")

Frames = Callable[..., np.ndarray]
pytestmark = pytest.mark.usefixtures("traced")


@pytest.fixture
def labelled(tmp_path: Path, make_frames: Frames) -> Path:
    for k, image in enumerate(make_frames(7, 40, 48, seed=9)):
        write_png(tmp_path / "set" / "images" / f"{k}.png", (255 * image[0]).astype(np.uint8))
        write_png(tmp_path / "set" / "masks" / f"{k}.png", image[0] < 0.3)
    return tmp_path / "set"


def test_export__then_predict_and_evaluate(
    run_folder: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "exported"
    config = ExportConfig(
        inputs=(str(run_folder),), out=out, format="openvino", int8=True, calibration=(labelled,), calibration_frames=3
    )
    assert run(config, json=True, verbose=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["out"], result["format"], result["int8"], result["frames"]) == (str(out), "openvino", True, 5)
    assert result["bytes"] == sum(file.stat().st_size for file in out.iterdir())
    assert read_trained_on(out) == read_trained_on(run_folder) == {"a" * 32, "b" * 32}
    masks = {}
    for name, weights in (("torch", run_folder), ("openvino", out)):
        asked = PredictConfig(
            inputs=(labelled / "images",),
            out=tmp_path / name,
            weights=str(weights),
            device="cpu",
            backend=name,  # type: ignore[arg-type]
        )
        assert predict(asked, json=True, verbose=True) == 0
        masks[name] = np.stack([read_mask(file) for file in sorted((tmp_path / name / "masks").iterdir())])
    assert (masks["torch"] == masks["openvino"]).mean() > 0.95
    capsys.readouterr()
    assert evaluate(EvaluateConfig(inputs=(labelled,), weights=str(out), backend="openvino"), json=True) == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert (protocol["computed_by"]["name"], protocol["computed_by"]["device"]) == ("openvino", "cpu")
    assert protocol["weights"]["name"] == "my_run (openvino, int8)", "and not the name of its folder"


def test_export__onnx_on_synthetic_frames(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ExportConfig(inputs=(str(run_folder),), out=tmp_path / "out"), json=False) == 0
    assert "largest_difference" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_export__takes_no_card_from_the_folder_above(run_folder: Path, tmp_path: Path) -> None:
    run_without_card = tmp_path / "project" / "run"
    shutil.copytree(run_folder / "export", run_without_card)
    (run_without_card / "README.md").unlink()
    (tmp_path / "project" / "README.md").write_text("Something else.")
    assert run(ExportConfig(inputs=(str(run_without_card),), out=tmp_path / "out")) == 0
    assert (tmp_path / "out" / "README.md").read_text().startswith("Research use, not a medical device.")


def test_export__settings_of_8_bits_alone_are_told(
    run_folder: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ExportConfig(inputs=(str(run_folder),), out=tmp_path / "out", calibration=(labelled,), calibration_frames=3)
    assert run(asked) == 0
    said = capsys.readouterr().err
    assert "without --int8 nothing is calibrated" in said
    assert "--calibration-frames has no effect without --int8" in said


def test_export__misuse_is_named_before_anything_is_written(run_folder: Path, labelled: Path, tmp_path: Path) -> None:
    out, run_path = tmp_path / "out", str(run_folder)
    wrong = [
        (ExportConfig(inputs=(run_path, run_path), out=out), "got 2 INPUTs"),
        (ExportConfig(inputs=(str(tmp_path / "none"),), out=out), "none"),
        (ExportConfig(inputs=(run_path,), out=labelled), "not empty"),
        (
            ExportConfig(inputs=(run_path,), out=out, int8=True, calibration=(labelled / "images" / "0.png",)),
            "got 1 --calibration frames, need more than 4",
        ),
    ]
    for config, message in wrong:
        with pytest.raises(MisuseError, match=message):
            run(config)
        assert not out.exists()


def test_export__a_missing_extra_is_named(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(MissingExtraError, match=r"needs onnxscript: pip install vasomim\[export\]"):
        run(ExportConfig(inputs=(str(run_folder),), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_export__rough_rounding_is_warned_of(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vasomim.commands.export.WORTH_A_WARNING", 1.1)
    assert run(ExportConfig(inputs=(str(run_folder),), out=tmp_path / "out", int8=True, calibration_frames=1)) == 0
    assert "warning: masks of the exported network agree" in capsys.readouterr().err
