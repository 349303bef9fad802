"""The scripts of the GPU queue: valid for bash, their budget for us; and two steps of them on a CPU, when asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vasomim.benchmarks.methods.rows import read_rows
from vasomim.config import BenchmarkMethodsConfig, load_config
from vasomim.data.frames import write_png
from vasomim.synth import generate

JOBS = Path(__file__).parents[2] / "benchmarks" / "gpu"
TINY = [
    *("--seeds", "0", "--labels", "1.0", "--encoder", "vit_test", "--pretrain-steps", "2", "--pretrain-batch", "4"),
    *("--finetune-steps", "2", "--finetune-batch", "4", "--segmentor-steps", "2", "--size", "64"),
    *("--device", "cpu", "--num-workers", "0"),
]
SHORT = ("--optim.steps", "2", "--batch-size", "2", "--num-workers", "0")  # sizes of the job: networks must take them


@pytest.mark.parametrize("script", sorted(path.name for path in JOBS.glob("*.sh")))
def test_scripts__are_valid_and_say_how_they_are_called(script: str) -> None:
    subprocess.run(["bash", "-n", str(JOBS / script)], check=True)
    text = (JOBS / script).read_text()
    assert script == "job.sh" or f"benchmarks/gpu/{script}" in text
    assert script == "job.sh" or os.access(JOBS / script, os.X_OK)


def test_budget__loads() -> None:
    config = load_config(BenchmarkMethodsConfig, JOBS / "grid.yaml")
    assert config.budget.encoder == "vit_small_patch16"
    assert (config.labels, config.seeds) == ((0.1, 1.0), (0, 1, 2))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_jobs__run_on_a_cpu_from_packs_to_a_table(tmp_path: Path) -> None:
    sets = {"arcade/syntax/train": 6, "arcade/syntax/val": 3, "arcade/stenosis_352/train": 4, "danilov_352": 4}
    for number, (part, count) in enumerate(sets.items()):
        for index in range(count):
            made = generate(100 * number + index, size=64)
            write_png(tmp_path / "data" / part / "images" / f"{index:02d}.png", made.image)
            write_png(tmp_path / "data" / part / "masks" / f"{index:02d}.png", made.mask.astype(np.uint8) * 255)
    places = {"OUT": tmp_path / "out", "RUNS": tmp_path / "runs", "SIZE": 64, "VASOMIM": f"{sys.executable} -m vasomim"}
    places["DEVICE"] = "cpu"
    environment = {**os.environ, **{name: str(value) for name, value in places.items()}}

    def job(script: str, *arguments: str) -> str:
        command = ["bash", str(JOBS / script), *arguments]
        return subprocess.run(command, env=environment, check=True, text=True, stdout=subprocess.PIPE).stdout

    job("pack.sh", str(tmp_path / "data"), str(tmp_path / "packs"))
    shown = job("methods.sh", str(tmp_path / "packs"), "--methods", "scratch", "mae", *TINY)
    assert "| plain MAE - from scratch | 100 % |" in shown
    shown = job("ablations.sh", str(tmp_path / "packs"), "--methods", "mae", "beta_1.0", *TINY)
    assert "| beta_E 1.0 - plain MAE | 100 % |" in shown
    shown = job("controls.sh", str(tmp_path / "packs"), *SHORT)
    assert [line for line in shown.splitlines() if line.endswith((", native", ", 224"))] == [
        f"{arm}, {size}" for arm in ("encoder", "scratch", "unet") for size in ("native", "224")
    ]
    assert shown.count("against ") == 4
    assert {cell.method for cell in read_rows(tmp_path / "out" / "rows")} == {"scratch", "mae", "beta_1.0"}
