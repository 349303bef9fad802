"""`vasomim predict` on DICOM runs: nothing private gets out, a bad file costs itself alone, and a kill nothing."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from identity_tools import told
from killed_tools import kill_at
from vasomim.cli import main
from vasomim.data.frames import write_png
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained

TOOLS = Path(__file__).parents[1] / "inference"
sys.path.insert(0, str(TOOLS))
from run_tools import PATIENT, SECRETS, band, make_run  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights") / "run"
    torch.manual_seed(0)
    facts = {
        "kind": "segmentation",
        "model": "vit_test_unet",
        "kwargs": {"img_size": 32},
        "inference": {"mode": "resize", "size": 32},
        "threshold": 0.5,
    }
    save_pretrained(folder / "export", create_model("vit_test_unet", img_size=32), facts, "A test.")
    return str(folder)


def predict(source: Path, out: Path, weights: str, *flags: str) -> int:
    return main(["predict", str(source), "--weights", weights, "--out", str(out), "--device", "cpu", *flags])


def files(folder: Path) -> dict[str, bytes]:
    """Every file but predictions.json, which holds seconds."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "predictions.json"}


def given_away(text: bytes | str) -> list[str]:
    """The secrets in a text, in whatever of the usual encodings."""
    content = text if isinstance(text, bytes) else text.encode()
    return [*told(content, SECRETS), *told(content.replace(b"\0", b""), SECRETS)]


def test_predict__nothing_private_gets_out(
    tmp_path: Path, weights: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "Quittenbaum, Xaverine 19470312"
    inner = folder / "KZ-90817263"
    make_run(inner / "12-03-1947 ACC5566778.dcm", band(4, 48, 40))
    make_run(inner / "harmless.dcm", band(3, 48, 40), SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    cut = make_run(inner / "xaverine_cut.dcm", band(3, 48, 40))
    cut.write_bytes(cut.read_bytes()[:-2000])  # the header alone is whole
    make_run(inner / "Quittenbaum^header.dcm", band(3, 48, 40))
    head = inner / "Quittenbaum^header.dcm"
    head.write_bytes(head.read_bytes()[:300])
    (inner / "Felsenbirne.dcm").write_bytes(b"this is no DICOM file")
    shutil.copy(make_run(tmp_path / "x.dcm", band(3, 48, 40), StudyInstanceUID=None), inner / "Ottilie no uid.dcm")
    (tmp_path / "x.dcm").unlink()
    caplog.set_level(logging.DEBUG)
    assert predict(folder, tmp_path / "out", weights, "-v", "--movie", "both") == 1
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err
    assert printed.err.count("--keep-identity shows its path") == 3
    assert given_away(printed.out) == given_away(printed.err) == []
    assert given_away("\n".join(record.getMessage() for record in caplog.records)) == []
    made = list((tmp_path / "out").rglob("*"))
    assert given_away("\n".join(path.relative_to(tmp_path).as_posix() for path in made)) == []
    for path in made:
        assert path.is_dir() or given_away(path.read_bytes()) == [], path
    assert len(list((tmp_path / "out" / "runs").rglob("segmentation.dcm"))) == 2
    assert len(list((tmp_path / "out" / "runs").rglob("report.json"))) == 3


def test_predict__a_single_bad_file_is_not_named_either(
    tmp_path: Path, weights: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Quittenbaum" / "Xaverine.dcm"
    for content in (b"no DICOM at all", b"\0" * 128 + b"DICM" + b"\xff" * 200):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        assert predict(path, tmp_path / "out", weights) == 1
        printed = capfd.readouterr()
        assert given_away(printed.out + printed.err) == []
        assert "run_0001" in printed.err
        assert predict(path, tmp_path / "kept", weights, "--keep-identity") == 1
        assert str(path) in capfd.readouterr().err


def test_predict__keep_identity_files_objects_with_the_patient(tmp_path: Path, weights: str) -> None:
    import pydicom

    make_run(tmp_path / "in" / "Quittenbaum.dcm", band(3, 48, 40))
    assert predict(tmp_path / "in", tmp_path / "out", weights, "--keep-identity") == 0
    for name in ("segmentation.dcm", "overlay.dcm"):
        made = pydicom.dcmread(tmp_path / "out" / "runs" / "Quittenbaum" / name)
        assert (made.PatientName, made.PatientID) == (PATIENT["PatientName"], PATIENT["PatientID"])
        assert made.AccessionNumber == PATIENT["AccessionNumber"]
        assert "InstitutionName" not in made
        assert given_away((tmp_path / "out" / "runs" / "Quittenbaum" / name).read_bytes())
    assert predict(tmp_path / "in", tmp_path / "out", weights) == 2  # never both in one folder


def test_predict__a_run_that_became_junk_leaves_nothing_behind(tmp_path: Path, weights: str) -> None:
    for name in ("a", "deep/b"):
        make_run(tmp_path / "in" / f"{name}.dcm", band(2, 48, 40))
    assert predict(tmp_path / "in", tmp_path / "out", weights) == 0
    before = files(tmp_path / "out")
    (tmp_path / "in" / "deep" / "b.dcm").write_bytes(b"no DICOM at all")
    assert predict(tmp_path / "in", tmp_path / "out", weights) == 1
    assert files(tmp_path / "out") == {name: data for name, data in before.items() if "deep" not in name}


def test_predict__pictures_and_runs_together_with_one_bad_file(
    tmp_path: Path, weights: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    for k in range(4):
        make_run(source / f"{k}.dcm", band(2, 48, 40))
    (source / "2.dcm").write_bytes((source / "2.dcm").read_bytes()[:-3000])
    write_png(source / "p.png", np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8))
    assert predict(source, tmp_path / "out", weights, "--json") == 1
    printed = capfd.readouterr()
    result = json.loads(printed.out)
    assert (result["frames"], result["predicted"], result["failed"]) == (8, 7, 1)
    assert "run_0003" in printed.err
    assert "file 3 of 4" in printed.err
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(summary["failures"]) == ["run_0003"]
    assert sorted(summary["runs"]) == ["0", "1", "3"]
    assert list(summary["frames"]) == ["p"]
    assert predict(source, tmp_path / "out", weights, "--json") == 1
    assert json.loads(capfd.readouterr().out)["skipped"] == 7


def test_predict__refuses_too_much_smoothing(tmp_path: Path, weights: str) -> None:
    make_run(tmp_path / "in" / "a.dcm")
    assert predict(tmp_path / "in", tmp_path / "out", weights, "--smoothing", "9") == 2
    assert not (tmp_path / "out").exists()


def test_predict__a_killed_call_is_taken_up_with_the_same_result(tmp_path: Path, weights: str) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for k in range(4):
        make_run(source / f"{k}.dcm", band(30, 96, 80))
    flags = ["--weights", weights, "--out", str(out), "--device", "cpu"]
    # A run is done and noted, and the next one has written some masks.
    kill_at("vasomim.inference.runs:write_pictures", 30 + 8, tmp_path / "standing", ["predict", str(source), *flags])
    done = json.loads((out / "predictions.json").read_text())["runs"]
    assert len(done) == 1
    assert list(out.glob(".unfinished/masks/*/*.png"))
    assert predict(source, out, weights) == 0
    assert not (out / ".unfinished").exists()
    assert predict(source, tmp_path / "whole", weights) == 0
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("flags", [(), ("--keep-identity",)])
def test_predict__objects_pass_dciodvfy(tmp_path: Path, weights: str, flags: tuple[str, ...]) -> None:
    make_run(tmp_path / "in" / "a.dcm", band(5, 37, 29))
    one = {"NumberOfFrames": None, "FrameTime": None, "FrameIncrementPointer": None}
    make_run(tmp_path / "in" / "b.dcm", band(3, 48, 40)[2:], SOPClassUID="1.2.840.10008.5.1.4.1.1.7", **one)
    vector = {"FrameTime": None, "FrameTimeVector": ["0", "50", "100"], "FrameIncrementPointer": 0x00181065}
    make_run(tmp_path / "in" / "c.dcm", band(3, 48, 40), LossyImageCompression="01", **vector)
    assert predict(tmp_path / "in", tmp_path / "out", weights, *flags) == 0
    objects = sorted((tmp_path / "out").rglob("*.dcm"))
    assert len(objects) == 6
    for path in objects:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
