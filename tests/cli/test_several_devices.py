"""Whole commands in two processes, as torchrun starts them and as `--devices` does; slow, as each loads torch anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vasomim.data.frames import write_png
from vasomim.models.weights import read_state_dict
from vasomim.synth import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vasomim"]
VASOMIM = [sys.executable, "-m", "vasomim"]
FEW = ["--img-size", "64", "--batch-size", "4", "--num-workers", "0", "--device", "cpu", "--holdout", "0.25"]
STEPS = [*FEW, "--steps", "4", "--log-every", "1", "--validate-every", "2"]


def command(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for index in range(12):
        made = generate(index, size=64)
        write_png(root / "images" / f"{index:02d}.png", made.image)
        write_png(root / "masks" / f"{index:02d}.png", made.mask.astype(np.uint8) * 255)
    return root


@pytest.fixture(scope="module")
def guide(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentor trained by torchrun; the first process extracts the vessels while the other waits."""
    out = tmp_path_factory.mktemp("guide") / "segmentor"
    done = command(*TORCHRUN, "segmentor", frames / "images", "--out", out, "--model", "unext_test", *STEPS, "--json")
    assert json.loads(done.stdout)["step"] == 4, "one process speaks"
    assert json.loads((out / "run.json").read_text())["facts"]["processes"] == 2
    return out


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [value for line in lines for name, value in line.items() if name in ("loss", "val/reconstruction")]


def test_pretrain__on_two_processes_makes_what_one_makes(frames, guide, tmp_path):
    pretrain = ["pretrain", frames / "images", "--vessels", guide / "vessels", "--segmentor", guide]
    pretrain += ["--model", "mae_vit_test", *STEPS, "--out"]
    command(*VASOMIM, *pretrain, tmp_path / "one")
    command(*TORCHRUN, *pretrain, tmp_path / "torchrun")
    command(*VASOMIM, *pretrain, tmp_path / "devices", "--devices", "2", "--strategy", "fsdp")
    ours = read_state_dict(tmp_path / "one" / "export_mae")
    for name in ("torchrun", "devices"):
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
        theirs = read_state_dict(tmp_path / name / "export_mae")
        assert ours.keys() == theirs.keys()
        files = {path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*")}
        assert files == {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*")}


SMALL = {
    "hpm": [],
    "dino": ["--local-crops", "1", "--local-size", "16", "--num-prototypes", "16"],
    "mocov3": ["--mocov3.hidden-dim", "16"],
}


@pytest.mark.parametrize("method", SMALL)
def test_pretrain__methods_with_a_state_of_their_own_run_on_two_processes(frames, guide, tmp_path, method):
    pretrain = ["pretrain", frames / "images", "--vessels", guide / "vessels", "--model", "mae_vit_test"]
    pretrain += ["--method", method, *SMALL[method], *STEPS, "--out"]
    command(*TORCHRUN, *pretrain, tmp_path / "two")
    assert len(losses(tmp_path / "two")) >= 4
    if method != "mocov3":  # BatchNorm sees the batch of each process alone on a CPU
        command(*VASOMIM, *pretrain, tmp_path / "one")
        assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("model", ["vit_test_unet", "unet_test", "unext_test"])
def test_finetune__runs_on_two_processes(frames, tmp_path, model):
    done = command(*TORCHRUN, "finetune", frames, "--model", model, "--out", tmp_path / "run", *STEPS)
    assert done.stdout.count("step: 4") == 1
    assert (tmp_path / "run" / "export" / "model.safetensors").is_file()


def test_finetune__says_once_that_a_batch_cannot_be_shared(frames, tmp_path):
    arguments = ["finetune", frames, "--model", "vit_test_unet", "--out", tmp_path / "run", *STEPS, "--batch-size", "5"]
    done = command(*VASOMIM, *arguments, "--devices", "2", status=2)
    assert done.stderr.count("vasomim: error: batch_size=5 cannot be shared by 2 processes") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
