"""SIGKILL in the middle of a verb: the same command ends with what it leaves undisturbed, to the byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from killed_tools import environment, kill_at
from vasomim.cli.app import main
from vasomim.data.frames import write_png
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained
from vasomim.synth import generate

MEASURED = {"samples_per_second", "data_wait", "peak_memory_mib"}
"""What is logged of the machine, not of the training."""
OF_THE_CALL = {"run.json", "report.html", "metrics.jsonl", "predictions.json", "config.yaml"}
"""Files with the time of day, seconds or the path of the folder in them; what matters of them is compared by itself."""
TINY = ["--img-size", "32", "--batch-size", "4", "--num-workers", "0", "--device", "cpu"]
STEPS = ["--steps", "70", "--save-every", "20", "--log-every", "1", "--validate-every", "40"]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic frames in images/ and their masks in masks/."""
    root = tmp_path_factory.mktemp("data") / "set"
    for seed in range(30):
        made = generate(seed, size=96)
        write_png(root / "images" / f"{seed}.png", made.image)
        write_png(root / "masks" / f"{seed}.png", made.mask)
    return root


def finish(arguments: list[str], out: Path) -> None:
    """Give a command and wait for it, however slow the machine is."""
    command = [sys.executable, "-m", "vasomim", *arguments, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr


def killed_and_taken_up(arguments: list[str], folder: Path, place: str, call: int) -> tuple[Path, Path]:
    """What a command leaves that was killed at the `call`-th call of `place` and given again, and what undisturbed."""
    out, whole = folder / "killed" / "out", folder / "whole" / "out"
    kill_at(place, call, folder / "standing", [*arguments, "--out", str(out)])
    assert files(out)
    finish(arguments, out)
    finish(arguments, whole)
    return out, whole


def files(folder: Path) -> dict[str, object]:
    """Every file, hidden ones included, but those of the call; of checkpoints, which are archives, the names."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.suffix == ".pt" or path.read_bytes() for name, path in found.items() if path.name not in OF_THE_CALL
    }


def logged(run: Path) -> list[dict[str, object]]:
    """The lines of metrics.jsonl without what was measured of the machine."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


LINES = "vasomim.engine.run_folder:RunFolder.append", 27
"""Where a training is killed: a checkpoint is written, and steps were taken after it that a kill loses."""


def test_extract__killed(frames: Path, tmp_path: Path) -> None:
    arguments = ["extract", str(frames / "images"), "--workers", "2", "--vesselness"]
    killed, whole = killed_and_taken_up(arguments, tmp_path, "vasomim.data.extraction:_Tally.add", 4)
    assert files(killed) == files(whole)
    assert len([*killed.glob("masks/*.png")]) == len([*killed.glob("vesselness/*.png")]) == 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_predict__killed(frames: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    facts = {
        "kind": "segmentation",
        "model": "vit_test_unet",
        "kwargs": {"img_size": 32},
        "inference": {"mode": "tile", "size": 32},
        "threshold": 0.5,
    }
    save_pretrained(tmp_path / "weights", create_model("vit_test_unet", img_size=32), facts, "A test.")

    arguments = ["predict", str(frames / "images"), "--weights", str(tmp_path / "weights"), "--batch-size", "2"]
    place = "vasomim.inference.writers:write_pictures"
    killed, whole = killed_and_taken_up([*arguments, "--device", "cpu"], tmp_path, place, 8)
    assert files(killed) == files(whole)
    notes = [json.loads((out / "predictions.json").read_text()) for out in (killed, whole)]
    for note in notes:
        for frame in note["frames"].values():
            del frame["seconds"]
    assert notes[0] == notes[1]
    assert len(notes[0]["frames"]) == 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_finetune__killed(frames: Path, tmp_path: Path) -> None:
    arguments = ["finetune", str(frames), "--model", "vit_test_unet", "--ema", "0.9", *TINY, *STEPS]
    killed, whole = killed_and_taken_up(arguments, tmp_path, *LINES)
    assert files(killed) == files(whole)
    assert "export/model.safetensors" in files(killed)
    assert logged(killed) == logged(whole)
    assert len(json.loads((killed / "run.json").read_text())["sessions"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pretrain__killed(frames: Path, tmp_path: Path) -> None:
    images, vessels, guide = str(frames / "images"), str(tmp_path / "vessels"), str(tmp_path / "segmentor")
    assert main(["extract", images, "--out", vessels, "--workers", "1"]) == 0
    seen = [images, "--vessels", vessels]
    few = [*TINY, "--steps", "2"]
    assert main(["segmentor", *seen, "--out", guide, "--model", "unext_test", *few]) == 0
    arguments = ["pretrain", *seen, "--segmentor", guide, "--model", "mae_vit_test", *TINY, *STEPS]
    killed, whole = killed_and_taken_up(arguments, tmp_path, *LINES)
    assert files(killed) == files(whole)
    assert {"export/model.safetensors", "export_mae/model.safetensors"} <= files(killed).keys()
    assert logged(killed) == logged(whole)
