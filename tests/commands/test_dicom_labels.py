"""Labelled DICOM runs from the command line: learned from, measured, packed, and looked at by the doctor."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from identity_tools import told
from vasomim.cli import main
from vasomim.data.frames import write_png

sys.path.insert(0, str(Path(__file__).parents[1] / "inference"))
from run_tools import SECRETS, band, make_run

TINY = ["--model", "vit_test_unet", "--img-size", "32", "--steps", "2", "--batch-size", "2", "--num-workers", "0"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs under a patient's name and a single frame, with masks of a few frames as `predict` calls them."""
    root = tmp_path_factory.mktemp("set")
    masks = band(6, 48, 40)
    for name in ("Quittenbaum 1", "b"):
        make_run(root / "images" / f"{name}.dcm", masks)
        for number in (3, 5, 6):
            write_png(root / "masks" / name / f"{number:04d}.png", masks[number - 1])
    make_run(root / "images" / "single", masks[4:5])
    write_png(root / "masks" / "single.png", masks[4])
    return root


def call(capfd: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> Any:
    got = main([*map(str, arguments), "--json"])
    shown = capfd.readouterr()
    assert got == status, shown.err
    assert told(shown.out + shown.err, SECRETS) == []
    return json.loads(shown.out) if shown.out else shown.err


def test_verbs__on_labelled_runs(labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, masks = tmp_path / "model", tmp_path / "masks"
    tuned = call(capfd, "finetune", labelled, "--out", model, "--holdout", "0", "--device", "cpu", *TINY)
    assert tuned["labels"] == 7
    card = call(capfd, "evaluate", labelled, "--weights", model, "--out", tmp_path / "card", "--device", "cpu")
    assert card["n"] == 7
    call(capfd, "predict", labelled / "images", "--weights", model, "--out", masks, "--device", "cpu")
    stored = call(capfd, "evaluate", labelled, "--predictions", masks)
    assert stored["metrics"]["dice"]["mean"] == pytest.approx(card["metrics"]["dice"]["mean"])
    written = [path for folder in (model, tmp_path / "card") for path in folder.rglob("*") if path.is_file()]
    assert [path for path in written if told(path.read_bytes(), SECRETS)] == []


def test_prepare__packs_labelled_runs(labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from vasomim.data.open import open_labelled

    pack = tmp_path / "pack"
    call(capfd, "prepare", labelled, "--labels", "--out", pack, "--workers", "1")
    packed, there = open_labelled([pack]), open_labelled([labelled])
    assert [record.id for record in packed.records] == [record.id for record in there.records]
    np.testing.assert_array_equal(packed[4].mask, there[4].mask)


def test_doctor__finds_the_masks_of_runs(labelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    labelled = shutil.copytree(labelled, tmp_path / "set")
    main(["doctor", str(labelled), "--json"])
    shown = capfd.readouterr()
    kinds = {item["kind"] for item in json.loads(shown.out)["findings"]}
    assert not kinds & {"missing_mask", "orphan_mask", "unreadable_mask", "mask_size"}
    (labelled / "masks" / "b" / "0009.png").write_bytes((labelled / "masks" / "b" / "0006.png").read_bytes())
    make_run(labelled / "images" / "c.dcm", band(3, 48, 40))
    main(["doctor", str(labelled), "--json"])
    found = {item["kind"]: item["files"] for item in json.loads(capfd.readouterr().out)["findings"]}
    assert found["orphan_mask"] == ["masks/b/0009.png"]
    assert found["missing_mask"] == [f"images/c.dcm/{number:04d}" for number in (1, 2, 3)]
