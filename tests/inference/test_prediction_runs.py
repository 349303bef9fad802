"""Runs to folders: what is written, what is skipped, what survives, what things are called."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from inference_tools import Darkness, config, write_frames
from run_tools import SECRETS, band, make_run

from identity_tools import told
from vasomim.data.frames import read_mask, read_pixels
from vasomim.data.open import open_frames
from vasomim.errors import Interrupted, LongNameError, VasomimError, WriteError
from vasomim.inference import run_outputs
from vasomim.inference import runs as module
from vasomim.inference.files import PredictionSummary, open_folder, predict_into
from vasomim.inference.predictor import Predictor
from vasomim.inference.run_files import group_by_file
from vasomim.inference.run_outputs import RunParts
from vasomim.inference.runs import RunOptions, predict_runs
from vasomim.inference.writers import Parts
from vasomim.types import BoolImage, FloatImage

MASKS = band(5, 48, 40)


def predictor(network: Darkness | None = None) -> Predictor:
    return Predictor(network or Darkness(), config(), device="cpu", precision="fp32", batch_size=2, name="tiny")


def predict(source: Path, out: Path, *, network: Darkness | None = None, frames: str | None = None, **more: Any) -> Any:
    options = {name: more.pop(name) for name in ("parts", "smoothing", "keep_identity") if name in more}
    using = predictor(network)
    settings = {"smoothing": options.get("smoothing", 0), "keep_identity": options.get("keep_identity", False)}
    with open_folder(using, out, more.pop("pictures", Parts()), settings) as folder:
        records = open_frames([source], frames).records
        return predict_runs(using, group_by_file(records), folder, RunOptions(**options), **more)


def content(folder: Path) -> dict[str, bytes]:
    """Every file but predictions.json, which holds seconds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "predictions.json"
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two runs and a single frame, with names on disk that say nothing."""
    make_run(tmp_path / "in" / "a.dcm", MASKS)
    make_run(tmp_path / "in" / "deep" / "b.dcm", band(3, 48, 40))
    make_run(tmp_path / "in" / "one.dcm", MASKS[4:], NumberOfFrames=None, FrameTime=None, FrameIncrementPointer=None)
    return tmp_path / "in"


def test_predict_runs__writes_everything(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ticks: list[int] = []
    result: PredictionSummary = predict(source, out, progress=ticks.append, parts=RunParts(movie="both"))
    assert (result.frames, result.predicted, result.skipped, result.failures) == (9, 9, 0, ())
    assert sum(ticks) == 9
    files = sorted(content(out))
    assert [name for name in files if name.startswith("masks/")] == [
        *(f"masks/a/{k:04d}.png" for k in range(1, 6)),
        *(f"masks/deep/b/{k:04d}.png" for k in range(1, 4)),
        "masks/one.png",
    ]
    for kind in ("overlays", "probability"):
        assert len([name for name in files if name.startswith(f"{kind}/")]) == 9
    products = ["overlay.dcm", "overlay.gif", "overlay.mp4", "report.html", "report.json", "segmentation.dcm"]
    assert [name for name in files if name.startswith("runs/a/")] == [f"runs/a/{name}" for name in products]
    assert not [name for name in files if name.startswith("runs/one/overlay.g")]
    assert not (out / ".unfinished").exists()
    for k, mask in enumerate(MASKS, 1):
        found = read_mask(out / "masks" / "a" / f"{k:04d}.png")
        assert (found == mask).mean() > 0.97
    summary = json.loads((out / "predictions.json").read_text())
    assert sorted(summary["runs"]) == ["a", "deep/b", "one"]
    assert summary["runs"]["a"]["best_frame"] == 5
    assert result.vessel_share == pytest.approx(
        np.mean([read_mask(p).mean() for p in (out / "masks").rglob("*.png")]), abs=1e-5
    )


def test_predict_runs__the_segmentation_holds_the_masks(source: Path, tmp_path: Path) -> None:
    predict(source, tmp_path / "out")
    read = highdicom.seg.segread(tmp_path / "out" / "runs" / "a" / "segmentation.dcm")
    instance = pydicom.dcmread(source / "a.dcm").SOPInstanceUID
    pictures = [read_mask(tmp_path / "out" / "masks" / "a" / f"{k:04d}.png") for k in range(1, 6)]
    found = read.get_pixels_by_source_frame(instance, list(range(1, 6)))
    np.testing.assert_array_equal(found[..., 0], np.stack(pictures))
    report = json.loads((tmp_path / "out" / "runs" / "a" / "report.json").read_text())
    assert [frame["vessel_area_px"] for frame in report["frames"]] == [int(picture.sum()) for picture in pictures]


def test_predict_runs__a_second_call_computes_nothing(source: Path, tmp_path: Path) -> None:
    predict(source, tmp_path / "out")
    before = content(tmp_path / "out")
    network = Darkness()
    again = predict(source, tmp_path / "out", network=network)
    assert (again.predicted, again.skipped, network.seen) == (0, 9, [])
    assert content(tmp_path / "out") == before


def test_predict_runs__does_again_what_changed_or_is_missing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(source, out, parts=RunParts(movie="none"))
    (out / "masks" / "deep" / "b" / "0002.png").unlink()
    make_run(source / "a.dcm", band(2, 48, 40))
    assert predict(source, out, parts=RunParts(movie="none")).predicted == 5
    assert sorted(path.name for path in (out / "masks" / "a").iterdir()) == ["0001.png", "0002.png"]
    assert predict(source, out).predicted == 5  # the films of both runs


def test_predict_runs__of_some_frames(source: Path, tmp_path: Path) -> None:
    result = predict(source / "a.dcm", tmp_path / "out", frames="1:4:2")
    assert result.predicted == 2
    assert sorted(path.name for path in (tmp_path / "out" / "masks" / "a").iterdir()) == ["0002.png", "0004.png"]
    report = json.loads((tmp_path / "out" / "runs" / "a" / "report.json").read_text())
    assert [frame["frame"] for frame in report["frames"]] == [2, 4]
    assert report["frames"][1]["time_ms"] == pytest.approx(200, abs=0.1)


def test_predict_runs__an_interrupted_call_is_taken_up(source: Path, tmp_path: Path) -> None:
    ticks: list[int] = []

    def stop(count: int) -> None:
        ticks.append(count)
        if len(ticks) == 7:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="goes on with the others"):
        predict(source, tmp_path / "out", progress=stop)
    assert "runs/a/segmentation.dcm" in content(tmp_path / "out")
    assert "runs/deep/b/segmentation.dcm" not in content(tmp_path / "out")
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert predict(source, tmp_path / "out").skipped == 5
    predict(source, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_predict_runs__a_damaged_run_costs_itself_alone(source: Path, tmp_path: Path) -> None:
    whole = (source / "deep" / "b.dcm").read_bytes()
    (source / "deep" / "b.dcm").write_bytes(whole[:-500])
    lines: list[str] = []
    result = predict(source, tmp_path / "out", warn=lines.append)
    assert (result.predicted, len(result.failures)) == (6, 1)
    assert lines == list(result.failures)
    assert "file 2 of 3" in lines[0]
    assert "\n" not in lines[0]
    assert str(source) not in lines[0]
    assert list(json.loads((tmp_path / "out" / "predictions.json").read_text())["failures"]) == ["run_0002"]
    assert not any("deep" in name for name in content(tmp_path / "out"))
    (source / "deep" / "b.dcm").write_bytes(whole)
    again = predict(source, tmp_path / "out")
    assert (again.predicted, again.skipped, again.failures) == (3, 6, ())
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["failures"] == {}


@pytest.mark.parametrize("name", ["deep/b", "one"])
def test_predict_runs__what_a_run_that_became_unreadable_gave_goes(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    predict(source, out)
    before = content(out)
    file = source / f"{name}.dcm"
    file.write_bytes(file.read_bytes()[:-500])
    assert len(predict(source, out).failures) == 1
    left = {path: data for path, data in before.items() if f"/{name}/" not in path and f"/{name}.png" not in path}
    assert content(out) == left
    assert name not in json.loads((out / "predictions.json").read_text())["runs"]


@pytest.mark.parametrize("name", ["deep/b", "one"])
def test_predict_runs__nothing_of_another_file_of_that_name_stays(source: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    predict(source, out)
    before = content(out)
    other = "one" if name == "deep/b" else "deep/b"
    shutil.copy(source / f"{other}.dcm", source / f"{name}.dcm")
    predict(source, out, pictures=Parts(overlays=False))
    mine = [path for path in content(out) if f"/{name}/" in path or f"/{name}.png" in path]
    assert any(path.startswith("masks/") for path in mine)
    assert not any(path.startswith("overlays/") for path in mine), "they were made of another file"
    assert {path for path in before if path.startswith(f"overlays/{other}")} <= content(out).keys()


def test_predict_runs__a_run_that_cannot_be_written_keeps_what_it_gave(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: type[WriteError]) -> Callable[..., None]:
        def write(*_: object) -> None:
            raise error("cannot write it")

        return write

    out = tmp_path / "out"
    predict(source, out, pictures=Parts(overlays=False))
    before = content(out)
    monkeypatch.setattr(module, "write_pictures", failing(LongNameError))
    assert len(predict(source, out).failures) == 3
    assert content(out) == before
    monkeypatch.setattr(module, "write_pictures", failing(WriteError))
    with pytest.raises(WriteError):  # a full disk is no matter of one run
        predict(source, out)
    assert content(out) == before


def test_predict_runs__a_failure_costs_no_picture_of_the_same_name(source: Path, tmp_path: Path) -> None:
    using = predictor()
    write_frames(tmp_path / "pictures", ["run_0002.png"])
    (source / "deep" / "b.dcm").write_bytes((source / "deep" / "b.dcm").read_bytes()[:-500])
    with open_folder(using, tmp_path / "out", Parts()) as folder:
        predict_into(using, open_frames([tmp_path / "pictures"]), folder)
        predict_runs(using, group_by_file(open_frames([source]).records), folder, RunOptions())
    assert list(folder.failures) == ["run_0002"]
    assert list(folder.frames) == ["run_0002"]
    assert (tmp_path / "out" / "masks" / "run_0002.png").is_file()


def test_predict_runs__names_give_nobody_away_unless_identity_is_kept(tmp_path: Path) -> None:
    name = "QUITTENBAUM_Xaverine/19470312 KZ-90817263.dcm"
    make_run(tmp_path / "in" / name, MASKS)
    make_run(tmp_path / "in" / "plain.dcm", MASKS, PatientID="another")
    predict(tmp_path / "in", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "runs").iterdir())
    assert names[0] == "plain"
    assert names[1].startswith("run-")
    listed = " ".join(content(tmp_path / "out"))
    assert told(listed, SECRETS) == []
    predict(tmp_path / "in", tmp_path / "kept", keep_identity=True)
    assert (tmp_path / "kept" / "runs" / name.removesuffix(".dcm") / "segmentation.dcm").is_file()
    assert (tmp_path / "kept" / "masks" / name.removesuffix(".dcm") / "0005.png").is_file()


def test_predict_runs__files_that_share_a_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    make_run(tmp_path / "in" / "a.dcm", MASKS)
    make_run(tmp_path / "in" / "a.ima", band(2, 48, 40))
    make_run(tmp_path / "in" / "a" / "c.dcm", band(3, 48, 40))
    for keep in (False, True):
        out = tmp_path / f"out{keep}"
        assert predict(tmp_path / "in", out, keep_identity=keep).predicted == 10
        assert len(list((out / "masks").rglob("*.png"))) == 10
        assert predict(tmp_path / "in", out, keep_identity=keep).skipped == 10


def test_predict_runs__smoothing_changes_probabilities(source: Path, tmp_path: Path) -> None:
    predict(source / "a.dcm", tmp_path / "plain")
    predict(source / "a.dcm", tmp_path / "smooth", smoothing=1)
    name = Path("probability", "a", "0003.png")
    assert not np.array_equal(read_pixels(tmp_path / "plain" / name), read_pixels(tmp_path / "smooth" / name))


def test_predict_runs__a_constant_frame_has_no_vessel_and_is_named(tmp_path: Path) -> None:
    path = make_run(tmp_path / "in" / "a.dcm", MASKS)
    dataset = pydicom.dcmread(path)
    size = 48 * 40
    dataset.PixelData = dataset.PixelData[:size] + b"\x1e" * size + dataset.PixelData[2 * size :]
    dataset.save_as(path)
    lines: list[str] = []
    predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert lines == ["a: frame(s) 2: all pixels are equal, no vessel can be seen"]
    assert not read_mask(tmp_path / "out" / "masks" / "a" / "0002.png").any()
    assert json.loads((tmp_path / "out" / "runs" / "a" / "report.json").read_text())["warnings"]


def test_predict_runs__frames_that_are_left_out_are_in_the_report(tmp_path: Path) -> None:
    path = make_run(tmp_path / "in" / "a.dcm", MASKS)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 2
    dataset.save_as(path)
    lines: list[str] = []
    predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert f"{len(MASKS) - 2} more frame(s) are there and are left out" in lines[0]
    assert json.loads((tmp_path / "out" / "runs" / "a" / "report.json").read_text())["warnings"] == [lines[0][3:]]


def test_predict_runs__a_run_of_noise_is_doubted_once(tmp_path: Path) -> None:
    path = make_run(tmp_path / "in" / "a.dcm", np.zeros((3, 80, 72), bool))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = np.random.default_rng(0).integers(0, 256, 3 * 80 * 72, np.uint8).tobytes()
    dataset.save_as(path)
    lines: list[str] = []
    predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert len(lines) == 1
    assert "every frame is doubtful" in lines[0]


def test_predict_runs__pictures_of_a_gif_are_made_where_one_is_wanted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []
    fit = run_outputs.fit_frame

    def counted(image: FloatImage, mask: BoolImage, side: int) -> tuple[FloatImage, BoolImage]:
        sides.append(side)
        return fit(image, mask, side)

    monkeypatch.setattr(run_outputs, "fit_frame", counted)
    predict(source, tmp_path / "none", parts=RunParts(movie="none"))
    assert not sides
    predict(source, tmp_path / "gif", parts=RunParts(movie="gif"))
    assert len(sides) == 5 + 3, "a single frame makes no film"


def test_predict_runs__without_uids_all_but_the_dicom_objects_is_written(tmp_path: Path) -> None:
    make_run(tmp_path / "in" / "a.dcm", MASKS, SeriesInstanceUID=None)
    lines: list[str] = []
    result = predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert (result.predicted, result.failures) == (5, ())
    assert lines == ["a: no SeriesInstanceUID: no DICOM object can refer to it, and none is written"]
    files = sorted(path.name for path in (tmp_path / "out" / "runs" / "a").iterdir())
    assert files == ["overlay.gif", "report.html", "report.json"]
    assert predict(tmp_path / "in", tmp_path / "out").skipped == 5


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("IM8.dcm", ["fantom^as", "19700413", "Kragujevac", "JAGIC", "Zmaj Jovina", "TERRA"]),
        ("rubo_0002_coronary_cine_96f_jpegbaseline.dcm", ["Rubo DEMO", "556342B", "19951025", "CARDIO-SMS"]),
        ("XA1_J2KR.dcm", ["CompressedSamples", "20040826", "CLUNIE1"]),
    ],
)
def test_predict_runs__real_files(tmp_path: Path, name: str, secrets: list[str]) -> None:
    path = Path(os.environ.get("VASOMIM_DATA", "")) / "dicom" / name
    if not (os.environ.get("VASOMIM_DATA") and path.is_file()):
        pytest.skip(f"VASOMIM_DATA names no folder with dicom/{name}")
    with pydicom.config.disable_value_validation():
        source = pydicom.dcmread(path, stop_before_pixels=True)
    count = int(source.get("NumberOfFrames", 1))
    frames = None if count == 1 else f"::{count // 2}"
    predict(path, tmp_path / "out", frames=frames, pictures=Parts(overlays=False, probability=False))
    masks = [read_mask(mask) for mask in sorted((tmp_path / "out" / "masks").rglob("*.png"))]
    (made,) = (tmp_path / "out" / "runs").rglob("segmentation.dcm")
    read = highdicom.seg.segread(made)
    if frames:
        numbers = [index + 1 for index in range(0, count, count // 2)]
        found = read.get_pixels_by_source_frame(source.SOPInstanceUID, numbers)
    else:
        found = read.get_pixels_by_source_instance([source.SOPInstanceUID])
    np.testing.assert_array_equal(found[..., 0], np.stack(masks))
    # UIDs are kept, and may hold a date.
    uids = [source[name].value.encode() for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    for output in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        content = output.read_bytes()
        for uid in uids:
            content = content.replace(uid, b"")
        assert [secret for secret in secrets if secret.encode() in content] == []


def test_predict_runs__full_disk_is_one_line_and_loses_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.write_outputs

    def full(folder: Path, *arguments: Any) -> Any:
        if folder.name == "b":
            raise VasomimError("cannot write: No space left on device; free some space")
        return real(folder, *arguments)

    monkeypatch.setattr(module, "write_outputs", full)
    with pytest.raises(VasomimError, match="No space left"):
        predict(source, tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert predict(source, tmp_path / "out").skipped == 5
