"""An export folder is whole or absent, says what it holds, and is refused once damaged."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vasomim.errors import CheckpointError, MisuseError, VasomimError
from vasomim.inference.backends import open_runtime, sha256
from vasomim.inference.outputs import Output
from vasomim.inference.torch_backend import TorchBackend
from vasomim.metrics import dice

onnx = pytest.importorskip("onnx", reason="needs vasomim[export]")
pytest.importorskip("onnxscript", reason="needs vasomim[export]")
pytest.importorskip("onnxruntime", reason="needs vasomim[export]")
pytest.importorskip("openvino", reason="needs vasomim[export]")
from vasomim.export.folder import compare, load_segmenter, write_export  # noqa: E402

Exported = dict[tuple[str, bool], Path]
Frames = Callable[..., np.ndarray]
FORMS = [("onnx", False), ("onnx", True), ("openvino", False), ("openvino", True)]


@pytest.mark.parametrize("form", FORMS)
def test_write_export__says_what_it_holds(exported: Exported, network: TorchBackend, form: tuple[str, bool]) -> None:
    folder = exported[form]
    config = json.loads((folder / "config.json").read_text())
    facts = config["export"]
    assert (config["kind"], config["inference"]["size"], config["threshold"]) == ("segmentation", 32, 0.5)
    assert (facts["format"], facts["int8"], facts["source"]) == (*form, network.fingerprint())
    networks = {file.name for file in folder.iterdir()} - {"config.json", "README.md"}
    assert networks == ({"model.onnx"} if form[0] == "onnx" else {"model.xml", "model.bin"})
    assert facts["sha256"] == {name: sha256(folder / name) for name in networks}
    assert facts["agreement"]["frames"] == 3
    assert facts["agreement"]["mask_dice"] > 0.9
    card = (folder / "README.md").read_text()
    assert card.startswith("A card.")
    assert ("8-bit" in card) == form[1]
    assert "Dice between both masks" in card


@pytest.mark.usefixtures("traced")
def test_write_export__takes_an_empty_folder_and_refuses_a_filled_one(
    tmp_path: Path, network: TorchBackend, make_frames: Frames
) -> None:
    (tmp_path / "empty").mkdir()
    write_export(network, {}, "", tmp_path / "empty", "onnx", [make_frames(1)])
    assert (tmp_path / "empty" / "model.onnx").is_file()
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "mine.txt").write_text("mine")
    for name in ("filled", "filled/mine.txt"):
        with pytest.raises(MisuseError, match="choose another --out"):
            write_export(network, {}, "", tmp_path / name, "onnx", [make_frames(1)])
    assert [file.name for file in (tmp_path / "filled").iterdir()] == ["mine.txt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "filled"]


@pytest.mark.usefixtures("traced")
def test_write_export__a_network_that_differs_is_not_written(
    tmp_path: Path, network: TorchBackend, make_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasomim.export.folder.LARGEST_DIFFERENCE", 1e-12)
    with pytest.raises(VasomimError, match="differs from torch"):
        write_export(network, {}, "", tmp_path / "out", "onnx", [make_frames(1)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("traced")
def test_write_export__killed_leaves_no_folder_and_the_next_one_clears_up(
    tmp_path: Path, run_folder: Path, graph: onnx.ModelProto, network: TorchBackend, make_frames: Frames
) -> None:
    onnx.save(graph, str(tmp_path / "graph.onnx"))
    script = f"""
import os, signal, numpy, onnx
from pathlib import Path
from vasomim.export import folder
folder.to_onnx = lambda *_: onnx.load({str(tmp_path / "graph.onnx")!r})
folder.compare = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
network, config = folder.load_segmenter(Path({str(run_folder)!r}))
frame = numpy.zeros((1, 1, 32, 32), numpy.float32)
folder.write_export(network, config, "", Path({str(tmp_path / "out")!r}), "onnx", [frame])
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, timeout=200)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (tmp_path / "out").exists()
    (left,) = tmp_path.glob(".*")
    assert (left / "model.onnx").is_file()
    write_export(network, {}, "", tmp_path / "out", "onnx", [make_frames(1)])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["graph.onnx", "out"]


def test_compare__measures_differences(network: TorchBackend, make_frames: Frames) -> None:
    class Brighter:
        name, device, precision = "torch", "cpu", "fp32"

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            return np.minimum(network.probabilities(images) + np.float32(0.25), 1)

        def fingerprint(self) -> str:
            return ""

    frames = [make_frames(1, seed=k) for k in range(3)]
    same, other = (compare(each, network, frames, Output()) for each in (network, Brighter()))
    assert (same.frames, same.largest_difference, same.mean_difference, same.mask_dice) == (3, 0, 0, 1)
    assert other.largest_difference == pytest.approx(0.25)
    assert 0 < other.mean_difference <= 0.25
    assert other.mask_dice < 1


def test_compare__masks_are_those_of_the_output(network: TorchBackend, make_frames: Frames) -> None:
    frames = [make_frames(1)]
    bare = network.probabilities(frames[0])[0]

    class Darker:
        name, device, precision = "torch", "cpu", "fp32"

        def probabilities(self, images: np.ndarray) -> np.ndarray:
            return network.probabilities(images) * np.float32(0.9)

        def fingerprint(self) -> str:
            return ""

    output = Output(threshold=0.3, scale=0.7, shift=-0.2, high_threshold=0.45)
    masks = [output.cut(output.calibrated(np.asarray(p, np.float32))) for p in (bare * np.float32(0.9), bare)]
    assert 0 < dice(*masks) < 1
    assert compare(Darker(), network, frames, output).mask_dice == pytest.approx(dice(*masks))


def test_load_segmenter__refuses_what_does_not_segment(tmp_path: Path) -> None:
    from vasomim.models.registry import create_model
    from vasomim.models.weights import save_pretrained

    facts = {"kind": "encoder", "model": "vit_test", "kwargs": {"img_size": 32}}
    save_pretrained(tmp_path / "export", create_model("vit_test", img_size=32), facts, "")
    with pytest.raises(CheckpointError, match="vasomim finetune"):
        load_segmenter(tmp_path)
    with pytest.raises(MisuseError):
        load_segmenter(tmp_path / "none")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def write(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


DAMAGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "cut onnx": ("onnx", "model.onnx", cut),
    "flipped onnx": ("onnx", "model.onnx", flip),
    "empty onnx": ("onnx", "model.onnx", write("")),
    "no weights": ("openvino", "model.bin", Path.unlink),
    "cut weights": ("openvino", "model.bin", cut),
    "cut xml": ("openvino", "model.xml", cut),
    "no config": ("onnx", "config.json", Path.unlink),
    "cut config": ("onnx", "config.json", cut),
    "foreign config": ("onnx", "config.json", write('{"export": 3}')),
    "config of others": ("onnx", "config.json", write('{"export": {"sha256": {}}}')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_open_runtime__damage_is_one_line(exported: Exported, tmp_path: Path, damage: str) -> None:
    runtime, file, harm = DAMAGES[damage]
    folder = tmp_path / "copy"
    shutil.copytree(exported[runtime, False], folder)
    harm(folder / file)
    with pytest.raises(CheckpointError) as caught:
        open_runtime(runtime, folder / {"onnx": "model.onnx", "openvino": "model.xml"}[runtime], "cpu", "auto")
    assert "\n" not in str(caught.value)
    assert "export" in str(caught.value)


@pytest.mark.parametrize(("runtime", "entry"), [("onnx", "model.onnx"), ("openvino", "model.xml")])
def test_open_runtime__no_network_under_a_matching_hash(
    exported: Exported, tmp_path: Path, runtime: str, entry: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported[runtime, False], folder)
    (folder / entry).write_text("nothing of the kind")
    config = json.loads((folder / "config.json").read_text())
    config["export"]["sha256"][entry] = sha256(folder / entry)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="cannot read") as caught:
        open_runtime(runtime, folder / entry, "cpu", "auto")
    assert "\n" not in str(caught.value)
