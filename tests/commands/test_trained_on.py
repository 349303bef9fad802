"""Weights say which labelled frames they learned, and what measures them on these says so."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.commands import evaluate, finetune, prepare
from vasomim.config import EvaluateConfig, FinetuneConfig, OptimConfig, PrepareConfig, RunConfig
from vasomim.data.frames import frame_hash, write_png
from vasomim.models.trained_on import TRAINED_ON, read_trained_on
from vasomim.synth import generate

SIZE = 64
RUN = RunConfig(device="cpu", num_workers=0)


def write(root: Path, numbers: range, suffix: str = ".png") -> Path:
    """Labelled frames of those seeds, in images/ and masks/."""
    for number in numbers:
        made = generate(number, size=SIZE)
        (root / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "images" / f"{number}{suffix}"), made.image)
        write_png(root / "masks" / f"{number}.png", made.mask.astype(np.uint8) * 255)
    return root


def settings(inputs: Path, out: Path, **changes: object) -> FinetuneConfig:
    few = OptimConfig(batch_size=4, steps=1)
    base = {"model": "vit_test_unet", "img_size": SIZE, "optim": few, "run": RUN, "holdout": 0.25}
    return FinetuneConfig(inputs=(inputs,), out=out, **{**base, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("labelled"), range(8))


@pytest.fixture(scope="module")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on six of the eight frames."""
    out = tmp_path_factory.mktemp("trained") / "run"
    finetune.run(settings(labelled, out))
    return out


def learned(run: Path) -> set[str]:
    """Names of the frames that a run learned, as its record has them."""
    return set(json.loads((run / "run.json").read_text())["facts"]["labels"])


def hashes(labelled: Path, names: set[str]) -> set[str]:
    return {frame_hash(labelled / "images" / f"{Path(name).name}.png") for name in names}


def test_finetune__lists_what_it_learned_and_not_what_it_held_out(labelled: Path, trained: Path) -> None:
    assert len(learned(trained)) == 6
    assert read_trained_on(trained) == hashes(labelled, learned(trained))
    for place in (trained / "export", trained / "export" / "model.safetensors"):
        assert read_trained_on(place) == read_trained_on(trained)


def test_finetune__learns_no_label_from_extracted_vessels(labelled: Path, tmp_path: Path) -> None:
    from vasomim.commands.training import extracted
    from vasomim.data.open import open_frames

    extracted(open_frames([labelled]), tmp_path / "vessels")
    finetune.run(settings(labelled, tmp_path / "run", vessels=tmp_path / "vessels"))
    assert read_trained_on(tmp_path / "run") == set()
    assert not (tmp_path / "run" / "export" / TRAINED_ON).exists()


def test_finetune__from_weights_has_learned_what_they_learned(
    labelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = write(tmp_path / "others", range(20, 24))
    finetune.run(settings(others, tmp_path / "on", init=str(trained)))
    assert "was trained on" not in capsys.readouterr().err
    assert read_trained_on(tmp_path / "on") == read_trained_on(trained) | hashes(others, learned(tmp_path / "on"))
    finetune.run(settings(others, tmp_path / "reports", init=str(trained), val=(labelled,)))
    assert "was trained on 6 of the 8 frames to report on" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_evaluate__says_how_many_frames_were_trained_on(
    trained: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    again = write(tmp_path / "again", range(10), suffix)
    config = EvaluateConfig(inputs=(again,), weights=str(trained), out=tmp_path / "out")
    assert evaluate.run(config, json=True) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["trained_on"] == 6
    assert "the weights were trained on 6 of 10 frames" in shown.err
    assert "10 frames (6 were trained on)" in (tmp_path / "out" / "report.html").read_text()


def test_trained_on__knows_packed_frames_by_the_frames_they_were(
    labelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pack at another size holds other pixels, and the hashes of those it was made from."""
    prepare.run(PrepareConfig(inputs=(labelled,), out=tmp_path / "pack", labels=True, size=32, workers=1))
    capsys.readouterr()
    evaluate.run(EvaluateConfig(inputs=(tmp_path / "pack",), weights=str(trained)), json=True)
    assert json.loads(capsys.readouterr().out)["trained_on"] == 6
    finetune.run(settings(tmp_path / "pack", tmp_path / "run"))
    assert read_trained_on(tmp_path / "run") == hashes(labelled, learned(tmp_path / "run"))


def test_evaluate__says_nothing_of_other_frames(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EvaluateConfig(inputs=(write(tmp_path / "new", range(30, 33)),), weights=str(trained))
    evaluate.run(config, json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["trained_on"] == 0
    assert "trained on" not in shown.err


def test_evaluate__does_not_know_where_the_weights_do_not_say(
    labelled: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.safetensors", "config.json"):
        (bare / name).write_bytes((trained / "export" / name).read_bytes())
    evaluate.run(EvaluateConfig(inputs=(labelled,), weights=str(bare)), json=True)
    assert json.loads(capsys.readouterr().out)["trained_on"] is None
