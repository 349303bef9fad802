"""The verbs that read frames, on folders of DICOM files: what comes out, and that nobody is named in it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dicom_tools import PATIENT, SECRETS, dataset_of, make, write
from pydicom.uid import JPEGLosslessSV1, RLELossless

from identity_tools import told
from vasomim.cli.app import main
from vasomim.commands import pretrain
from vasomim.config import (
    DicomConfig,
    MaskingConfig,
    OptimConfig,
    PretrainConfig,
    RunConfig,
)
from vasomim.data.dicom import run
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained
from vasomim.synth.cine import generate_cine

SIZE = 64


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of two patients; folder and file names that give one of them away."""
    root = tmp_path_factory.mktemp("hospital")
    for number, place in enumerate(("QUANDTMEYER_XENIA/IM1", "series/xenia.dcm", "series/b.dcm")):
        cine = generate_cine(number, size=SIZE, num_frames=6).images[2:]
        dataset = dataset_of(cine, FrameTime=66, **({**PATIENT, "PatientID": "OTHER"} if number == 2 else PATIENT))
        dataset.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "Tresor")
        write(root / place, dataset, (RLELossless, JPEGLosslessSV1, RLELossless)[number])
    return root


@pytest.fixture
def nobody(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[list[Path]]:
    """Folders to be searched, when a test ends, for names in files, in their names, and in what was printed."""
    folders: list[Path] = []
    yield folders
    out, err = capsys.readouterr()
    texts = [out, err, caplog.text]
    for path in (path for folder in folders for path in folder.rglob("*")):
        texts += [
            str(path.relative_to(folders[0].parent)),
            path.read_bytes().decode("latin-1") if path.is_file() else "",
        ]
    assert told("\n".join(texts), SECRETS) == []


def test_extract__masks_lie_under_ids_that_name_nobody(hospital: Path, tmp_path: Path, nobody: list[Path]) -> None:
    out = tmp_path / "vessels"
    nobody.append(out)
    assert main(["extract", str(hospital), "--out", str(out), "--frames", "1:3", "--workers", "1", "-v"]) == 0
    masks = sorted(path.relative_to(out / "masks").as_posix() for path in (out / "masks").rglob("*.png"))
    assert len(masks) == 6
    assert {"series/b/0002.png", "series/b/0003.png"} <= set(masks)
    assert {name.split("/")[1] for name in masks if name.startswith("run-")} == {"0002.png", "0003.png"}
    assert cv2.imread(str(out / "masks" / masks[0])).shape == (SIZE, SIZE, 3)


def test_extract__one_damaged_run_is_one_line(
    hospital: Path, tmp_path: Path, nobody: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "some"
    whole = (hospital / "series" / "b.dcm").read_bytes()
    (root / "xenia").mkdir(parents=True)
    (root / "whole").write_bytes(whole)
    (root / "xenia" / "cut").write_bytes((hospital / "series" / "xenia.dcm").read_bytes()[:-400])
    out = tmp_path / "out"
    nobody.append(out)
    assert main(["extract", str(root), "--out", str(out), "--frames", "0", "--workers", "1"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "truncated" in line]
    assert len(said) == 1
    assert str(root) in said[0]
    print(*said)


def test_training__of_dicom_frames(hospital: Path, tmp_path: Path, nobody: list[Path]) -> None:
    nobody.append(tmp_path)
    out = tmp_path / "pretrain"
    config = PretrainConfig(
        inputs=(hospital,),
        out=out,
        dicom=DicomConfig(frames="1:"),
        model="mae_vit_test",
        img_size=SIZE,
        optim=OptimConfig(batch_size=4, steps=2, lr=1e-3),
        run=RunConfig(device="cpu", num_workers=1, log_every=1, save_every=2, validate_every=2),
        masking=MaskingConfig(guidance="anatomy"),
        consistency_weight=0.0,
        holdout=0.3,
    )
    assert pretrain.run(config) == 0
    assert '"frames": 9' in (out / "run.json").read_text()


def test_predict__each_frame_of_a_run_once(
    hospital: Path, tmp_path: Path, nobody: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    facts = {"kind": "segmentation", "model": "vit_test_unet", "kwargs": {"img_size": 32}}
    facts |= {"inference": {"mode": "resize", "size": 32}, "threshold": 0.5}
    save_pretrained(tmp_path / "w" / "export", create_model("vit_test_unet", img_size=32), facts, "A test.")
    out = tmp_path / "out"
    nobody.append(out)
    call = ["predict", str(hospital / "series"), "--out", str(out), "--weights", str(tmp_path / "w"), "--json"]
    call += ["--device", "cpu", "--frames", "::2"]
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] == 4
    assert (out / "masks" / "b" / "0001.png").is_file()
    assert (out / "masks" / "b" / "0003.png").is_file()
    assert main(call) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 4


def test_predict__a_damaged_file_that_was_typed(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its path, as typed, is in the message; the summary, which may travel, does not hold it."""
    path = tmp_path / "xenia"
    path.write_bytes((hospital / "series" / "xenia.dcm").read_bytes()[:-400])
    assert main(["extract", str(path), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    assert f"{path}: truncated" in capsys.readouterr().err


def test_missing_extra__is_named_before_anything_starts(
    hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setattr(run, "_runs", OrderedDict())
    assert main(["extract", str(hospital), "--out", str(tmp_path / "out")]) == 2
    assert "pip install vasomim[dicom]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_gdcm__is_named_where_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "gdcm" else find(name, *more))
    needs = make(tmp_path / "lossless.dcm", np.zeros((1, 16, 16), np.uint8), JPEGLosslessSV1)
    assert main(["extract", str(needs), "--out", str(tmp_path / "out")]) == 2
    assert "needs GDCM: pip install vasomim[dicom]" in capsys.readouterr().err
