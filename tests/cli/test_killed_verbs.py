"""SIGKILL in the middle of a verb: the same command ends with what it leaves undisturbed, to the byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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


def start(arguments: list[str], out: Path) -> subprocess.Popen[bytes]:
    """The command line in a process of its own, computing in one thread."""
    place = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "vasomim", *arguments, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **place},
    )


def finish(arguments: list[str], out: Path) -> None:
    process = start(arguments, out)
    try:
        _, said = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, said.decode()


def killed_and_taken_up(arguments: list[str], folder: Path, under_way: Callable[[Path], bool]) -> tuple[Path, Path]:
    """What a command leaves that was killed while `under_way` and given again, and what it leaves undisturbed."""
    out = folder / "killed" / "out"
    process = start(arguments, out)
    try:
        while not under_way(out):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    finish(arguments, out)
    finish(arguments, folder / "whole" / "out")
    return out, folder / "whole" / "out"


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


def trained_on(out: Path) -> bool:
    """Whether a checkpoint is written, and steps were taken after it that a kill loses."""
    if not (out / "checkpoints" / "step_00000020.pt").is_file():
        return False
    return (out / "metrics.jsonl").read_text().count("\n") > 26 and not (out / "export").exists()


def test_extract__killed(frames: Path, tmp_path: Path) -> None:
    def some_masks(out: Path) -> bool:
        return 3 <= len([*(out / "masks").glob("*.png")]) < 25

    arguments = ["extract", str(frames / "images"), "--workers", "2", "--vesselness"]
    killed, whole = killed_and_taken_up(arguments, tmp_path, some_masks)
    assert files(killed) == files(whole)
    assert len([*killed.glob("masks/*.png")]) == len([*killed.glob("vesselness/*.png")]) == 30


@pytest.mark.slow
@pytest.mark.timeout(900)
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

    def some_masks(out: Path) -> bool:
        return 3 <= len([*(out / "masks").glob("*.png")]) < 25

    arguments = ["predict", str(frames / "images"), "--weights", str(tmp_path / "weights"), "--batch-size", "2"]
    killed, whole = killed_and_taken_up([*arguments, "--device", "cpu"], tmp_path, some_masks)
    assert files(killed) == files(whole)
    notes = [json.loads((out / "predictions.json").read_text()) for out in (killed, whole)]
    for note in notes:
        for frame in note["frames"].values():
            del frame["seconds"]
    assert notes[0] == notes[1]
    assert len(notes[0]["frames"]) == 30


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_finetune__killed(frames: Path, tmp_path: Path) -> None:
    arguments = ["finetune", str(frames), "--model", "vit_test_unet", "--ema", "0.9", *TINY, *STEPS]
    killed, whole = killed_and_taken_up(arguments, tmp_path, trained_on)
    assert files(killed) == files(whole)
    assert "export/model.safetensors" in files(killed)
    assert logged(killed) == logged(whole)
    assert len(json.loads((killed / "run.json").read_text())["sessions"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pretrain__killed(frames: Path, tmp_path: Path) -> None:
    images, vessels, guide = str(frames / "images"), str(tmp_path / "vessels"), str(tmp_path / "segmentor")
    assert main(["extract", images, "--out", vessels, "--workers", "1"]) == 0
    seen = [images, "--vessels", vessels]
    few = [*TINY, "--steps", "2"]
    assert main(["segmentor", *seen, "--out", guide, "--model", "unext_test", *few]) == 0
    arguments = ["pretrain", *seen, "--segmentor", guide, "--model", "mae_vit_test", *TINY, *STEPS]
    killed, whole = killed_and_taken_up(arguments, tmp_path, trained_on)
    assert files(killed) == files(whole)
    assert {"export/model.safetensors", "export_mae/model.safetensors"} <= files(killed).keys()
    assert logged(killed) == logged(whole)
