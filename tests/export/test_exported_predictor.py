"""The Predictor with each backend: the same answers, and one line for each wrong choice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vasomim.data.frames import write_png
from vasomim.errors import CheckpointError, MissingExtraError, MisuseError
from vasomim.inference import backends
from vasomim.inference.predictor import Predictor

for module in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(module, reason="needs vasomim[export]")

Exported = dict[tuple[str, bool], Path]
Frames = Callable[..., np.ndarray]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("mode", ["resize", "tile"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_predictor__every_backend_gives_the_same(
    exported: Exported, run_folder: Path, make_frames: Frames, runtime: str, mode: str, batch_size: int
) -> None:
    images = [make_frames(1, *shape, seed=7)[0, 0] for shape in ((33, 47), (64, 20), (32, 32), (70, 51))]
    maps = [
        Predictor.from_pretrained(path, "cpu", "fp32", batch_size, mode=mode, backend=backend).probabilities(images)  # type: ignore[arg-type]
        for path, backend in ((run_folder, "torch"), (exported[runtime, False], runtime))
    ]
    for one, other, image in zip(*maps, images, strict=True):
        assert one.shape == other.shape == image.shape
        np.testing.assert_allclose(one, other, atol=5e-5)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_from_pretrained__auto_takes_what_is_there(exported: Exported, runtime: str) -> None:
    folder = exported[runtime, True]
    loaded = Predictor.from_pretrained(folder)
    assert (loaded.backend.name, loaded.backend.device, loaded.backend.precision) == (runtime, "cpu", "fp32")
    assert (loaded.name, loaded.mode, loaded.size, loaded.threshold) == (f"{runtime}_int8", "resize", 32, 0.5)
    entry = next(folder.glob("model.[ox][nm]*"))
    assert Predictor.from_pretrained(entry).fingerprint() == loaded.fingerprint()
    assert loaded.fingerprint() != Predictor.from_pretrained(exported[runtime, False]).fingerprint()


def test_from_pretrained__wrong_choices_are_one_line(exported: Exported, run_folder: Path) -> None:
    onnx = exported["onnx", False]
    wrong = [
        ({"backend": "tensorrt"}, onnx, "need auto, torch, onnx, openvino"),
        ({"backend": "torch"}, onnx, "give the run it was exported from"),
        ({"backend": "openvino"}, onnx, "vasomim export RUN --format openvino"),
        ({"backend": "onnx"}, run_folder, "vasomim export RUN --format onnx"),
        ({"precision": "bf16"}, onnx, "computes in fp32"),
        ({"precision": "fp16"}, exported["openvino", False], "computes in fp32 or bf16"),
        ({"device": "cuda"}, onnx, "on the CPU"),
    ]
    for arguments, path, message in wrong:
        with pytest.raises(MisuseError, match=message) as caught:
            Predictor.from_pretrained(path, **arguments)
        assert "\n" not in str(caught.value)


def test_from_pretrained__a_missing_network_is_named(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((exported["onnx", False] / "config.json").read_bytes())
    with pytest.raises((CheckpointError, MisuseError)) as caught:
        Predictor.from_pretrained(tmp_path)
    assert "model.onnx" in str(caught.value)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_from_pretrained__a_missing_extra_is_named(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in ("onnxruntime", "openvino") else True)
    with pytest.raises(MissingExtraError, match=r"pip install vasomim\[export\]") as caught:
        Predictor.from_pretrained(exported[runtime, False])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_predict__of_an_exported_network_needs_no_torch(
    exported: Exported, tmp_path: Path, make_frames: Frames, runtime: str
) -> None:
    write_png(tmp_path / "frames" / "a.png", (255 * make_frames(1, 40, 50)[0, 0]).astype(np.uint8))
    words = [
        "predict",
        str(tmp_path / "frames"),
        "--weights",
        str(exported[runtime, False]),
        "--out",
        str(tmp_path / "o"),
    ]
    script = f"import sys; from vasomim.cli.app import main; sys.exit(main({words!r}) or ('torch' in sys.modules) * 9)"
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "o" / "masks" / "a.png").is_file()
