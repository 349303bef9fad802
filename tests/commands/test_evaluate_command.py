"""`vasomim evaluate` from folders to files: numbers, protocols, comparisons, and one line for each mistake."""

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluate_tools import Darkness
from scipy import ndimage

from vasomim import metrics
from vasomim.commands import evaluate as command
from vasomim.config import EvaluateConfig
from vasomim.errors import DataError, MisuseError, VasomimError
from vasomim.inference.predictor import Predictor
from vasomim.ops.resize import resize_area, resize_mask

SIZE = 96


def vessels(seed: int, size: int = SIZE) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random((size, size)), 4)
    return smooth > np.quantile(smooth, 0.9)


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Five frames whose vessels are dark."""
    for k in range(5):
        mask = vessels(k)
        image = np.where(mask, 60, 180) + np.random.default_rng(k).normal(0, 6, mask.shape)
        write(tmp_path / "data/images" / f"{k}.png", image.clip(0, 255).astype(np.uint8))
        write(tmp_path / "data/masks" / f"{k}.png", mask.astype(np.uint8) * 255)
    return tmp_path / "data"


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    for k in range(5):
        write(tmp_path / "predicted/masks" / f"{k}.png", ndimage.binary_erosion(vessels(k)).astype(np.uint8) * 255)
    return tmp_path / "predicted"


@pytest.fixture
def darkness(monkeypatch: pytest.MonkeyPatch) -> Darkness:
    """Stands in for the weights of any path."""
    model = Darkness()

    def load(
        path: str, *settings: Any, threshold: float | None, flip: bool | None, backend: str, output: str | None
    ) -> Predictor:
        assert (backend, output) == ("auto", None)
        batch_size = settings[-1]
        inference = {"mode": "resize", "size": 48, "flip": bool(flip)}
        facts = {"inference": inference, "threshold": 0.5 if threshold is None else threshold}
        return Predictor(model, facts, "cpu", "fp32", batch_size, name=Path(path).name)

    monkeypatch.setattr(Predictor, "from_pretrained", staticmethod(load))
    monkeypatch.setattr(command, "read_trained_on", lambda _: frozenset())
    return model


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verb with --json and gives what it printed on stdout."""

    def start(inputs: Path, status: int = 0, **settings: Any) -> dict[str, Any]:
        assert command.run(EvaluateConfig(inputs=(inputs,), **settings), json=True) == status
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return start


def test_evaluate__masks_of_a_folder(labelled: Path, predicted: Path, run: Run) -> None:
    card = run(labelled, predictions=predicted)
    expected = [metrics.cldice(ndimage.binary_erosion(vessels(k)), vessels(k)) for k in range(5)]
    assert card["n"] == 5
    assert card["metrics"]["cldice"]["mean"] == pytest.approx(np.mean(expected))
    assert card["metrics"]["precision"]["mean"] == 1.0
    assert card["protocol"]["size"] == "native"
    assert card["protocol"]["rasteriser"] == "arcade-official"
    assert card["protocol"]["threshold"] is None
    assert "calibration" not in card


def test_evaluate__weights_at_native_size(labelled: Path, darkness: Darkness, run: Run) -> None:
    card = run(labelled, weights="some/run", threshold=0.4, batch_size=2)
    assert card["metrics"]["dice"]["mean"] > 0.85
    assert set(darkness.seen) == {(2, 1, 48, 48), (1, 1, 48, 48)}
    assert card["protocol"]["threshold"] == 0.4
    assert card["protocol"]["weights"]["name"] == "run"
    assert card["protocol"]["inference"]["mode"] == "resize"
    assert 0 <= card["calibration"]["ece"] < 0.1


def grey_frame(labelled: Path, k: int) -> np.ndarray:
    picture = cv2.imread(str(labelled / "images" / f"{k}.png"), cv2.IMREAD_GRAYSCALE)
    return np.asarray(picture, np.float32) / 255


@pytest.mark.usefixtures("darkness")
def test_evaluate__a_constant_frame_has_no_vessel_as_in_prediction(labelled: Path, run: Run) -> None:
    write(labelled / "images" / "2.png", np.full((SIZE, SIZE), 20, np.uint8))  # all vessel to this network
    for size in (None, 48, 32):
        card = run(labelled, weights="run", size=size, batch_size=2)
        assert card["metrics"]["dice"]["mean"] < 0.85
        assert card["pooled"]["precision"] > 0.7  # a frame full of vessel would bring it to a half


def test_evaluate__size_resizes_frames_and_labels_by_area(labelled: Path, darkness: Darkness, run: Run) -> None:
    card = run(labelled, weights="run", size=48)  # what these weights are made for
    dice = [
        metrics.dice(resize_area(grey_frame(labelled, k), 48) <= 0.5, resize_mask(vessels(k), 48)) for k in range(5)
    ]
    assert set(darkness.seen) == {(5, 1, 48, 48)}
    assert card["metrics"]["dice"]["mean"] == pytest.approx(np.mean(dice))
    assert card["protocol"]["size"] == 48
    assert "averaged_to" not in card["protocol"]["inference"]


def test_evaluate__weights_for_another_size_see_native_frames(labelled: Path, darkness: Darkness, run: Run) -> None:
    card = run(labelled, weights="run", size=32)
    assert set(darkness.seen) == {(5, 1, 48, 48)}
    dice = []
    for k in range(5):
        found = 1 / (1 + np.exp(-20 * (0.5 - resize_area(grey_frame(labelled, k), 48))))
        native = cv2.resize(found.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        dice.append(metrics.dice(resize_area(native, 32) >= 0.5, resize_mask(vessels(k), 32)))
    assert card["metrics"]["dice"]["mean"] == pytest.approx(np.mean(dice), abs=1e-6)
    assert card["protocol"]["inference"]["averaged_to"] == 32


def test_evaluate__size_with_masks_of_native_or_of_that_size(labelled: Path, predicted: Path, run: Run) -> None:
    native = run(labelled, predictions=predicted, size=40)
    for path in (predicted / "masks").glob("*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        write(path, resize_mask(mask, 40).astype(np.uint8) * 255)
    assert run(labelled, predictions=predicted, size=40)["metrics"] == native["metrics"]


def test_evaluate__writes_the_folder(labelled: Path, predicted: Path, tmp_path: Path, run: Run) -> None:
    card = run(labelled, predictions=predicted, out=tmp_path / "out")
    assert json.loads((tmp_path / "out/evaluation.json").read_text()) == card
    rows = list(csv.DictReader((tmp_path / "out/per_image.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert (tmp_path / "out/report.html").read_text().count("data:image/png") == 5


def test_evaluate__again_into_the_same_folder(labelled: Path, predicted: Path, tmp_path: Path, run: Run) -> None:
    first = run(labelled, predictions=predicted, out=tmp_path / "out")
    assert run(labelled, predictions=predicted, out=tmp_path / "out") == first
    with pytest.raises(MisuseError, match="another evaluation \\(other size\\)"):
        run(labelled, predictions=predicted, out=tmp_path / "out", size=40)


@pytest.mark.usefixtures("darkness")
def test_evaluate__another_threshold_is_another_evaluation(labelled: Path, tmp_path: Path, run: Run) -> None:
    run(labelled, weights="run", out=tmp_path / "out")
    run(labelled, weights="run", out=tmp_path / "out", threshold=0.5)
    with pytest.raises(MisuseError, match="other threshold"):
        run(labelled, weights="run", out=tmp_path / "out", threshold=0.3)
    with pytest.raises(MisuseError, match="other inference"):
        run(labelled, weights="run", out=tmp_path / "out", flip=True)


@pytest.mark.parametrize("name", ["notes.txt", "masks"])
def test_evaluate__refuses_a_folder_with_something_else(
    labelled: Path, predicted: Path, tmp_path: Path, name: str, run: Run
) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(MisuseError, match=f"holds {name}"):
        run(labelled, predictions=predicted, out=tmp_path / "out")


@pytest.mark.usefixtures("darkness")
def test_evaluate__compare(labelled: Path, predicted: Path, tmp_path: Path, run: Run) -> None:
    run(labelled, predictions=predicted, out=tmp_path / "a")
    card = run(labelled, weights="run", compare=tmp_path / "a", out=tmp_path / "b")
    dice = card["comparison"]["metrics"]["dice"]
    assert dice["difference"] == pytest.approx(card["metrics"]["dice"]["mean"] - dice["other_mean"])
    assert card["comparison"]["n"] == 5


def test_evaluate__prints_tables_without_json(
    labelled: Path, predicted: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(labelled, predictions=predicted, out=tmp_path / "a")
    config = EvaluateConfig(inputs=(labelled,), predictions=predicted, compare=tmp_path / "a")
    assert command.run(config, json=False, verbose=True) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("clDice", "5 frames", "6-12", "difference"))


@pytest.mark.usefixtures("darkness")
def test_evaluate__frames_of_different_sizes(labelled: Path, predicted: Path, run: Run) -> None:
    for folder in (labelled / "images", labelled / "masks", predicted / "masks"):
        write(folder / "wide.png", np.zeros((50, 120), np.uint8))
    assert run(labelled, predictions=predicted)["n"] == 6
    assert run(labelled, weights="run")["n"] == 6
    assert run(labelled, weights="run", size=40)["n"] == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "got none of --weights and --predictions"),
        ({"weights": "run", "predictions": Path("x")}, "give either weights or predictions"),
        ({"predictions": Path("x"), "threshold": 0.3}, "threshold has no effect"),
        ({"weights": "run", "size": 0}, "size must be at least 1, got 0"),
        ({"weights": "run", "batch_size": 0}, "batch_size must be at least 1"),
        ({"predictions": Path("nowhere")}, "no such folder of predictions"),
        ({"weights": "nowhere"}, "no weights at nowhere"),
    ],
)
def test_evaluate__misuse(labelled: Path, settings: dict[str, Any], message: str, run: Run) -> None:
    with pytest.raises(MisuseError, match=message):
        run(labelled, **settings)


def test_evaluate__a_missing_prediction_is_listed(labelled: Path, predicted: Path, tmp_path: Path, run: Run) -> None:
    (predicted / "masks/3.png").unlink()
    with pytest.raises(DataError, match=r"1 of 5 frames have no mask in .*: 3"):
        run(labelled, predictions=predicted, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_evaluate__a_prediction_of_another_size(labelled: Path, predicted: Path, run: Run) -> None:
    write(predicted / "masks/3.png", np.zeros((96, 95), np.uint8))
    card = run(labelled, status=1, predictions=predicted)
    assert card["n"] == 4
    assert "3.png is 96x95, but its frame 96x96" in card["failures"][0]["reason"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.usefixtures("darkness")
def test_evaluate__a_broken_frame_does_not_cost_the_others(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncate(labelled / "images/1.png")
    write(labelled / "masks/3.png", np.zeros((90, SIZE), np.uint8))
    config = EvaluateConfig(inputs=(labelled,), weights="run", out=tmp_path / "out", batch_size=2)
    assert command.run(config) == 1
    shown = capsys.readouterr()
    assert "3 frames (2 could not be measured)" in shown.out
    lines = [line for line in shown.err.splitlines() if line.startswith("vasomim: warning: ")]
    assert len(lines) == 2
    assert all(name in line for name, line in zip(("images/1.png", "masks/3.png"), lines, strict=True))
    card = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (card["n"], card["protocol"]["data"]["frames"]) == (3, 3)
    assert [failure["id"] for failure in card["failures"]] == ["1", "3"]
    assert [f"vasomim: warning: {failure['reason']}" for failure in card["failures"]] == lines
    assert (tmp_path / "out/per_image.csv").read_text().count("\n") == 4


def test_evaluate__numbers_are_of_the_measured_frames(labelled: Path, predicted: Path, run: Run) -> None:
    truncate(labelled / "images/1.png")
    some = run(labelled, status=1, predictions=predicted)
    for folder in ("images", "masks"):
        (labelled / folder / "1.png").unlink()
    whole = run(labelled, predictions=predicted)
    assert {**some, "failures": []} == whole


def test_evaluate__one_line_where_every_frame_is_broken(labelled: Path, predicted: Path, run: Run) -> None:
    for path in (labelled / "images").iterdir():
        truncate(path)
    with pytest.raises(DataError, match=r"none of 5 frames can be measured; the first one: .*0\.png"):
        run(labelled, predictions=predicted)


@pytest.mark.usefixtures("darkness")
def test_evaluate__a_comparison_that_a_broken_mask_forbids_keeps_the_numbers(
    labelled: Path, predicted: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(labelled, weights="run", out=tmp_path / "a")
    truncate(predicted / "masks/2.png")
    with pytest.raises(DataError, match=r"not compared with .*such as 2"):
        run(labelled, predictions=predicted, compare=tmp_path / "a", out=tmp_path / "b")
    card = json.loads(capsys.readouterr().out)
    assert (card["n"], "comparison" in card) == (4, False)
    assert json.loads((tmp_path / "b/evaluation.json").read_text()) == card


@pytest.mark.usefixtures("darkness")
def test_evaluate__frames_whose_names_are_no_utf8(labelled: Path, tmp_path: Path, run: Run) -> None:
    for folder in ("images", "masks"):
        (labelled / folder / "1.png").rename(labelled / folder / os.fsdecode(b"fr" + bytes([0xE9]) + b".png"))
    card = run(labelled, weights="run", out=tmp_path / "a")
    assert card["n"] == 5
    assert "fr\\udce9: Dice" in (tmp_path / "a/report.html").read_text(encoding="utf-8")
    again = run(labelled, weights="run", compare=tmp_path / "a")
    assert again["comparison"]["metrics"]["dice"]["difference"] == 0


@pytest.mark.parametrize("place", ["file/out", "file"])
def test_evaluate__a_place_that_cannot_be_written_fails_before_the_work(
    labelled: Path, darkness: Darkness, tmp_path: Path, place: str, run: Run
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VasomimError, match=r"cannot write .*Not a directory|is a file"):
        run(labelled, weights="run", out=tmp_path / place)
    assert not darkness.seen


def test_evaluate__a_full_disk_leaves_the_numbers_on_stdout(
    labelled: Path,
    predicted: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VasomimError, match="No space left"):
        run(labelled, predictions=predicted, out=tmp_path / "out")
    assert json.loads(capsys.readouterr().out)["n"] == 5


@pytest.mark.usefixtures("darkness")
def test_evaluate__doubts_are_said_once(
    labelled: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in (1, 3):
        write(labelled / "images" / f"{k}.png", 255 - (255 * grey_frame(labelled, k)).astype(np.uint8))
    command.run(EvaluateConfig(inputs=(labelled,), weights="run", size=40, out=tmp_path / "out"))
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(lines) == 1
    assert "2 of 5 frames look inverted or like no angiogram, e.g. 1: its lines are bright" in lines[0]
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted))
    assert "inverted" not in capsys.readouterr().err


def test_evaluate__says_which_masks_are_the_other_way_round(
    labelled: Path, predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted))
    assert "more than half vessel" not in capsys.readouterr().err
    for k in range(2):
        write(labelled / "masks" / f"{k}.png", 255 * (~vessels(k)).astype(np.uint8))
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted))
    assert "2 of 5 masks are more than half vessel" in capsys.readouterr().err


def test_evaluate__names_a_comparison_whose_path_holds_brackets(
    labelled: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "odd[/b]"
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted, out=other))
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted, compare=other))
    assert "b]" in capsys.readouterr().out


def test_evaluate__says_that_one_patient_gives_no_interval(
    labelled: Path, predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{k}.png,7,,,,\n" for k in range(5))
    (labelled / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\n" + rows)
    command.run(EvaluateConfig(inputs=(labelled,), predictions=predicted))
    assert "all frames are of one patient" in capsys.readouterr().err


def test_evaluate__without_labels(labelled: Path, predicted: Path, run: Run) -> None:
    with pytest.raises(MisuseError, match=r"label|mask"):
        run(labelled / "images", predictions=predicted)


def test_evaluate__a_comparison_that_is_none_fails_before_the_work(
    labelled: Path, darkness: Darkness, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(MisuseError, match=r"no evaluation\.json"):
        run(labelled, weights="run", compare=tmp_path)
    assert not darkness.seen


def test_evaluate__a_comparison_with_other_frames_or_sizes_fails_before_the_work(
    labelled: Path, predicted: Path, darkness: Darkness, tmp_path: Path, run: Run
) -> None:
    run(labelled, predictions=predicted, out=tmp_path / "a")
    with pytest.raises(MisuseError, match="size=native"):
        run(labelled, weights="run", compare=tmp_path / "a", size=40)
    for folder in ("images", "masks"):
        (labelled / folder / "4.png").unlink()
    with pytest.raises(MisuseError, match="0 only here, 1 only there, such as 4"):
        run(labelled, weights="run", compare=tmp_path / "a")
    assert not darkness.seen
