"""Folders of frames: what is written, what is skipped, what is refused, what survives a broken file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from inference_tools import Darkness, config, frame, write_frames

from vasomim.data.frames import read_frame, read_mask, read_pixels, write_png
from vasomim.data.open import open_frames
from vasomim.data.samples import FrameDataset
from vasomim.errors import Interrupted, MisuseError, VasomimError
from vasomim.inference import writers
from vasomim.inference.files import PredictionSummary, outside, predict_files
from vasomim.inference.predictor import RULES, Predictor
from vasomim.types import Record, Sample

KINDS = ("masks", "overlays", "probability")
NAMES = ["b.png", "a.png", "series/a.png", "series/deep/x.tif", "c.jpg.png"]


def predictor(level: float = 0.5, **settings: Any) -> Predictor:
    return Predictor(Darkness(level), config(**settings), device="cpu", precision="fp32", batch_size=2, name="tiny")


def predict(source: Path, out: Path, using: Predictor | None = None, **arguments: Any) -> PredictionSummary:
    return predict_files(using or predictor(), open_frames([source]), out, **arguments)


def summary(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "predictions.json").read_text())
    return content


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "frames", NAMES)


def test_predict_files__writes_every_picture_at_native_size(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ticks: list[int] = []
    result = predict(source, out, progress=lambda: ticks.append(1))
    assert (result.frames, result.predicted, result.skipped, result.failures) == (5, 5, 0, ())
    assert len(ticks) == 5
    for name in NAMES:
        stem = Path(name).with_suffix("")
        image = read_frame(source / name)
        expected = predictor().predict(image)
        assert set(np.unique(read_pixels(out / "masks" / f"{stem}.png"))) == {0, 255}
        np.testing.assert_array_equal(read_mask(out / "masks" / f"{stem}.png"), expected.mask)
        stored = read_pixels(out / "probability" / f"{stem}.png")
        assert stored.dtype == np.uint16
        np.testing.assert_allclose(stored / 65535, expected.probability, atol=1e-5)
        assert cv2.imread(str(out / "overlays" / f"{stem}.png")).shape == (*image.shape, 3)


def test_predict_files__summary_holds_shares_and_no_paths(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = predict(source, out)
    content = summary(out)
    assert content["weights"]["name"] == "tiny"
    chosen = {"mode": "tile", "size": 32, "overlap": 0.25, "threshold": 0.5, "high_threshold": 0.0}
    assert content["settings"] == {"rules": RULES, **chosen}
    assert sorted(content["frames"]) == ["a", "b", "c.jpg", "series/a", "series/deep/x"]
    first = content["frames"]["b"]
    assert (first["height"], first["width"]) == (40, 50)
    assert first["vessel_share"] == pytest.approx(6 / 50, abs=1e-3)
    assert result.vessel_share == pytest.approx(0.115, abs=0.01)
    assert str(tmp_path) not in json.dumps(content)


def test_predict_files__a_second_call_skips_what_is_done(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(source, out)
    network = Darkness()
    again = predict(source, out, Predictor(network, config(), device="cpu", name="tiny"))
    assert (again.predicted, again.skipped) == (0, 5)
    assert network.seen == []


def test_predict_files__does_again_what_changed_or_is_missing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(source, out, overlays=False)
    assert not (out / "overlays").exists()
    (out / "masks" / "series" / "a.png").unlink()
    write_png(source / "a.png", frame(33, 44, 9))
    write_png(source / "new.png", frame())
    again = predict(source, out, overlays=False)
    assert (again.predicted, again.skipped) == (3, 3)
    assert read_mask(out / "masks" / "a.png").shape == (33, 44)
    assert predict(source, out).predicted == 6  # the overlays
    write_png(source / "a.png", frame(20, 30, 4))
    predict(source, out, overlays=False)
    assert not (out / "overlays" / "a.png").exists(), "of what a.png was before"
    assert (out / "overlays" / "new.png").exists()
    (out / "masks" / "new.png").unlink()
    predict(source, out, overlays=False)
    assert (out / "overlays" / "new.png").exists(), "of what new.png still is"


def test_predict_files__same_result_as_uninterrupted(source: Path, tmp_path: Path) -> None:
    def stop_at_third() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            raise KeyboardInterrupt

    ticks: list[int] = []
    with pytest.raises(Interrupted, match="goes on from there"):
        predict(source, tmp_path / "stopped", progress=stop_at_third)
    assert len(summary(tmp_path / "stopped")["frames"]) == 3
    assert predict(source, tmp_path / "stopped").skipped == 3
    predict(source, tmp_path / "whole")
    for path in (tmp_path / "whole").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "stopped" / path.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize(
    ("using", "difference"),
    [
        (predictor(0.4), "weights.hash"),
        (predictor(threshold=0.4), "settings.threshold 0.5 there, 0.4 now"),
        (predictor(mode="resize"), "settings.mode"),
    ],
)
def test_predict_files__refuses_the_folder_of_other_weights_or_settings(
    source: Path, tmp_path: Path, using: Predictor, difference: str
) -> None:
    out = tmp_path / "out"
    predict(source, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(MisuseError, match=difference):
        predict(source, out, using)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_predict_files__refuses_what_other_rules_found(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(source, tmp_path / "out")
    monkeypatch.setattr("vasomim.inference.predictor.RULES", 1)
    with pytest.raises(MisuseError, match=r"settings\.rules 3 there, 1 now"):
        predict(source, tmp_path / "out")


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"weights": 1}'])
def test_predict_files__refuses_a_folder_of_something_else(source: Path, tmp_path: Path, content: str | None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    if content is not None:
        (out / "predictions.json").write_text(content)
    with pytest.raises(MisuseError, match="not empty"):
        predict(source, out)
    assert not (out / "masks").exists()


def test_predict_files__refuses_a_folder_that_another_process_writes(source: Path, tmp_path: Path) -> None:
    """Both would lose what the other writes: entries of predictions.json, and runs that are not whole yet."""
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from vasomim.inference.writers import Parts, PredictionFolder\n"
        f"with PredictionFolder(Path({str(out)!r}), {{}}, Parts()): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(MisuseError, match="another process is writing"):
            predict(source, out)
        other.communicate()
    assert predict(source, out).predicted == len(NAMES)


def test_predict_files__refuses_a_file_as_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(MisuseError, match="is a file"):
        predict(source, tmp_path / "out")


def test_predict_files__reports_broken_frames_and_does_the_rest(source: Path, tmp_path: Path) -> None:
    whole = (source / "b.png").read_bytes()
    (source / "cut.png").write_bytes(whole[: len(whole) // 2])
    np.save(source / "nan.npy", np.full((8, 8), np.nan))
    (source / "empty.png").write_bytes(b"")
    lines: list[str] = []
    out = tmp_path / "out"
    result = predict(source, out, warn=lines.append)
    assert result.predicted == 5
    assert len(result.failures) == len(lines) == 3
    assert all("\n" not in line for line in lines)
    content = summary(out)
    assert sorted(content["failures"]) == ["cut", "empty", "nan"]
    assert str(tmp_path) not in json.dumps(content)
    (source / "cut.png").write_bytes(whole)
    again = predict(source, out)
    assert (again.predicted, again.skipped, len(again.failures)) == (1, 5, 2)
    assert sorted(summary(out)["failures"]) == ["empty", "nan"]


def pictures(out: Path) -> list[str]:
    """Names of all pictures below masks/, overlays/ and probability/."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))


def test_predict_files__pictures_of_a_frame_that_became_unreadable_go(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(source, out)
    before = pictures(out)
    (source / "series" / "a.png").write_bytes(b"junk")
    again = predict(source, out, overlays=False)
    assert (again.skipped, len(again.failures)) == (4, 1)
    assert sorted(set(before) - set(pictures(out))) == [f"{kind}/series/a.png" for kind in KINDS]
    assert list(summary(out)["failures"]) == ["series/a"]


def test_predict_files__a_name_too_long_for_its_pictures_costs_that_frame_alone(tmp_path: Path) -> None:
    name, long = "血" * 83, "血" * 82 + "12345"
    write_frames(tmp_path / "in", [f"{name}.png", f"{long}.png", "b.png"])
    (tmp_path / "in" / f"{name}.jpg").write_bytes((tmp_path / "in" / "b.png").read_bytes())  # ids keep .jpg and .png
    lines: list[str] = []
    result = predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert (result.predicted, len(result.failures)) == (2, 2)
    assert all("too long; shorten the name of the frame" in line and "\n" not in line for line in lines)
    content = summary(tmp_path / "out")
    assert sorted(content["failures"]) == [f"{name}.jpg", f"{name}.png"]
    assert str(tmp_path) not in json.dumps(content)
    assert pictures(tmp_path / "out") == sorted(f"{k}/{n}.png" for k in KINDS for n in ("b", long))
    again = predict(tmp_path / "in", tmp_path / "out")
    assert (again.skipped, len(again.failures)) == (2, 2)


def test_predict_files__hidden_files_do_not_make_a_folder_foreign(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_text("x")
    assert predict(source, tmp_path / "out").predicted == 5
    assert (tmp_path / "out" / ".DS_Store").is_file()


def test_predict_files__a_constant_frame_is_done_with_a_warning(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "flat.png", np.full((20, 20), 40, np.uint8))
    lines: list[str] = []
    result = predict(tmp_path / "in", tmp_path / "out", warn=lines.append)
    assert (result.predicted, result.failures, result.vessel_share) == (1, (), 0.0)
    assert len(lines) == 1
    assert not read_mask(tmp_path / "out" / "masks" / "flat.png").any()


class Listed:
    """Frames in memory under given ids."""

    def __init__(self, ids: list[str], path: Path) -> None:
        self.records = [Record(name, path) for name in ids]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.records[index], frame().astype(np.float32) / 255)


def test_predict_files__refuses_repeated_ids(source: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="occur twice"):
        predict_files(predictor(), Listed(["a", "b", "a"], source / "a.png"), tmp_path / "out")


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/a", ""])
def test_predict_files__never_leaves_its_folder(source: Path, tmp_path: Path, name: str) -> None:
    result = predict_files(predictor(), Listed([name, "good"], source / "a.png"), tmp_path / "out")
    assert len(result.failures) == 1
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["good.png"]


def test_predict_files__holds_few_frames_at_a_time(source: Path, tmp_path: Path) -> None:
    class Watched(Listed):
        read = 0

        def __getitem__(self, index: int) -> Sample:
            Watched.read += 1
            ahead.append(Watched.read - len(done))
            return super().__getitem__(index)

    ahead: list[int] = []
    done: list[int] = []
    dataset: FrameDataset = Watched([f"{k:03d}" for k in range(100)], source / "a.png")
    predict_files(predictor(), dataset, tmp_path / "out", overlays=False, progress=lambda: done.append(1))
    assert len(done) == 100
    assert max(ahead) < 40


def test_predict_files__full_disk_is_one_line_and_loses_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real = writers.write_png

    def full(path: Path, array: np.ndarray) -> None:
        if path.parent.name == "series":
            raise VasomimError(f"cannot write {path}: No space left on device; free some space")
        real(path, array)

    monkeypatch.setattr(writers, "write_png", full)
    with pytest.raises(VasomimError, match="No space left"):
        predict(source, out)
    done = list(summary(out)["frames"])
    assert all((out / "masks" / f"{name}.png").is_file() for name in done)
    monkeypatch.undo()
    assert predict(source, out).skipped == len(done)


def test_outside__leaves_out_the_pictures_of_an_earlier_call(source: Path) -> None:
    frames = open_frames([source])
    assert outside(frames, source / "out") is frames
    predict_files(predictor(), frames, source / "out")
    assert len(outside(open_frames([source]), source / "out")) == len(frames)
    with pytest.raises(MisuseError, match="itself"):
        outside(open_frames([source / "out" / "overlays"]), source / "out")
