"""`vasomim export NAME`: weights of the package by name; `./NAME` is a path; what is not there is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vasomim.cli import main
from vasomim.inference.predictor import Predictor
from vasomim.models.shipped import SHIPPED

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs vasomim[export]")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def exported(out: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((out / "config.json").read_text())
    return config


def test_export__writes_weights_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasomim.commands.export.COMPARED", 1)  # a frame and its cut: seconds each, of a large network
    assert main(["export", "fast", "--out", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mask_dice"] > 0.99
    assert exported(tmp_path / "out")["weights"] == "fast"
    assert Predictor.from_pretrained("out").backend.name == "onnx"


@pytest.mark.parametrize(("name", "output"), [("default", "main"), ("full-tree", "full-tree"), ("fast", "main")])
@pytest.mark.usefixtures("traced")
def test_export__every_segmenter_is_found_by_name(
    name: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    described: dict[str, Any] = {}

    def write_export(network: object, config: dict[str, Any], card: str, *_: object) -> Any:  # noqa: ARG001
        described.update(config, card=card)
        Path("exported").mkdir()
        return {"agreement": {"mask_dice": 1.0}}

    monkeypatch.setattr("vasomim.export.folder.write_export", write_export)
    assert main(["export", name, "--json"]) == 0, capsys.readouterr().err
    assert described["weights"] == SHIPPED[name].folder
    assert [each["name"] for each in described["outputs"]] == [output]
    assert described["card"] == (SHIPPED[name].path / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("traced")
def test_export__a_dot_makes_a_name_a_path(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "fast")
    assert main(["export", "./fast", "--out", "out"]) == 0
    assert exported(tmp_path / "out")["model"] == "vit_test_unet"


@pytest.mark.parametrize("name", ["defualt", "./default", "no/where"])
def test_export__what_is_not_there_is_one_line_with_the_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vasomim: error: {name} does not exist; give a run folder, an export folder")
    assert "default, full-tree, fast, encoder" in error
    assert error.count("\n") == 1
    assert not Path("exported").exists()
