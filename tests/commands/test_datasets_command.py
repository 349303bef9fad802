"""`vasomim datasets`: every action as text and as JSON, and one clear line for every misuse."""

import dataclasses
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from local_server import serve

from vasomim.cli import main
from vasomim.data.frames import write_png
from vasomim.data.open import open_labelled
from vasomim.data.registry import DATASETS, Archive


def test_datasets__lists_all(capsys):
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(DATASETS)
    assert main(["datasets", "--json"]) == 0
    assert [card["name"] for card in json.loads(capsys.readouterr().out)] == list(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_datasets__shows_one(capsys, name):
    assert main(["datasets", "--show", name]) == 0
    text = capsys.readouterr().out
    assert DATASETS[name].citation in text
    assert ("none stated" in text) == (DATASETS[name].licence is None)
    assert main(["datasets", "--show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == DATASETS[name].page


def test_datasets__downloads_then_verifies(tmp_path, capsys, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("1.pgm", b"P5 2 2 255\n\0\0\0\0")
        archive.writestr("1_gt.pgm", b"P5 2 2 255\n\0\0\0\0")
    with serve() as site:
        site.files["/dca1.zip"] = packed.getvalue()
        archives = (Archive(url=f"{site.address}/dca1.zip", file="dca1.zip"),)
        monkeypatch.setitem(DATASETS, "dca1", dataclasses.replace(DATASETS["dca1"], archives=archives))
        assert main(["datasets", "--download", "dca1", "--out", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    folder = json.loads(printed.out)["folder"]
    assert "licence not stated; cite Cervantes-Sanchez" in printed.err
    assert "no hash of dca1.zip is published; it has sha256" in printed.err
    assert main(["datasets", folder, "--verify", "dca1"]) == 1
    assert "MISSING 1 of 134 frames" in capsys.readouterr().out
    assert main(["datasets", folder, "--arrange", "dca1", "--out", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 1
    assert len(open_labelled([tmp_path / "new"])) == 1
    assert main(["datasets", folder, "--verify", "dca1", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["complete"], facts["frames"], facts["parts"][0]["found"]) == (False, 2, 1)


def test_datasets__writes_for_nnunet(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_png(tmp_path / "set" / "images" / f"{name}.png", rng.integers(0, 256, (16, 16), dtype=np.uint8))
        write_png(tmp_path / "set" / "masks" / f"{name}.png", rng.random((16, 16)) > 0.5)
    flags = ["--nnunet", "Dataset501_Vessels", "--out", str(tmp_path / "raw"), "--file-ending", ".tif"]
    assert main(["datasets", str(tmp_path / "set"), *flags]) == 0
    assert "frames: 2" in capsys.readouterr().out
    assert len(open_labelled([tmp_path / "raw" / "Dataset501_Vessels"])) == 2
    assert main(["datasets", str(tmp_path / "set"), *flags]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--show", "arcde"], 2, "did you mean arcade"),
        (["--show", "arcade", "--download", "arcade", "--out", "x"], 2, "one thing at a time, got show and download"),
        (["--download", "arcade"], 2, "download needs out"),
        (["--arrange", "dca1", "--out", "x"], 2, "arrange needs one INPUT"),
        (["{tmp}", "--arrange", "arcade", "--out", "x"], 2, "arcade cannot be arranged"),
        (["--download", "xcad", "--out", "x"], 2, "no address to fetch it from"),
        (["--verify", "arcade"], 2, "verify needs one INPUT"),
        (["--nnunet", "Dataset1_X", "--out", "x"], 2, "nnunet needs an INPUT"),
        (["{tmp}", "--nnunet", "Dataset001_X", "--out", "x"], 2, "is no labelled set"),
        (["{tmp}"], 2, "INPUT needs verify, arrange or nnunet"),
        (["--show", "arcade", "--out", "x"], 2, "out needs download, arrange or nnunet"),
        (["{tmp}", "--verify", "arcade", "--classes"], 2, "classes has an effect with nnunet alone"),
        (["{tmp}", "--arrange", "dca1", "--out", "x", "--file-ending", ".tif"], 2, "file_ending has an effect"),
        (["{tmp}", "--verify", "arcade"], 1, "nothing of arcade lies in"),
    ],
)
def test_datasets__misuse_is_one_line(tmp_path, capsys, flags, status, message):
    assert main(["datasets", *(flag.format(tmp=tmp_path) for flag in flags)]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
