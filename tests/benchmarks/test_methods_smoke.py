"""Every method and every ablation, two steps each through the real commands; minutes, so only when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vasomim.benchmarks.methods.catalogue import ABLATIONS, MAIN
from vasomim.benchmarks.methods.damage import write_damaged
from vasomim.benchmarks.methods.grid import METHODS, cells
from vasomim.benchmarks.methods.lanes import Lane
from vasomim.benchmarks.methods.locks import Lock
from vasomim.benchmarks.methods.plan import Job, runs_of
from vasomim.benchmarks.methods.rows import check_comparable, read_rows
from vasomim.benchmarks.methods.table import NOT_RUN, difference_table, score_table, shown
from vasomim.cli.app import main
from vasomim.config import BenchmarkMethodsConfig
from vasomim.config.benchmarks import BudgetConfig
from vasomim.data.frames import write_png
from vasomim.errors import VasomimError
from vasomim.synth import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TINY = BudgetConfig(
    encoder="vit_test",
    pretrain_steps=3,
    pretrain_batch=4,
    finetune_steps=2,
    finetune_batch=4,
    segmentor_steps=2,
    size=64,
)


def in_this_process(job: Job, locks: Sequence[Lock]) -> None:
    """As a command of its own, less the seconds of starting one."""
    assert locks
    if job.module == "vasomim":
        if main([*job.arguments, *job.computing]):
            raise VasomimError(f"{job.name} failed")
    else:
        assert len(write_damaged(*map(Path, job.arguments))) == 36, "as many tensors as the published code draws anew"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkMethodsConfig:
    """Tiny sets below one folder, and every method on them."""
    root = tmp_path_factory.mktemp("grid")
    for part, first, count in (("frames", 0, 10), ("train", 10, 6), ("val", 16, 3)):
        for index in range(first, first + count):
            made = generate(index, size=64)
            write_png(root / part / "images" / f"{index:02d}.png", made.image)
            write_png(root / part / "masks" / f"{index:02d}.png", made.mask.astype(np.uint8) * 255)
    config = BenchmarkMethodsConfig(
        inputs=(root,),
        out=root / "out",
        methods=("all",),
        unlabelled=("frames",),
        train="train",
        val="val",
        synthetic_frames=4,
        budget=TINY,
        device="cpu",
        num_workers=0,
    )
    assert Lane(config, in_this_process, print).run(cells(["all"], [1.0], [0])) == []
    return config


def test_grid__every_method_has_a_row_and_a_line(grid: BenchmarkMethodsConfig) -> None:
    rows = read_rows(grid.out)
    assert {cell.method for cell in rows} == set(METHODS)
    check_comparable(rows)
    of = shown(tuple(METHODS), [1.0])
    assert NOT_RUN not in score_table(rows, of)
    assert NOT_RUN not in difference_table(rows, of)


def test_grid__every_variant_learns_something_else(grid: BenchmarkMethodsConfig) -> None:
    """A setting without effect would give the encoder of another variant, to the bit."""
    exported = {
        name: hashlib.sha256(
            (runs_of(grid) / f"pretrain_{name}" / "export" / "model.safetensors").read_bytes()
        ).digest()
        for name, method in METHODS.items()
        if method.start is not None and name != "eta_1.0"
    }
    assert len(exported) == len(set(exported.values()))
    assert set(ABLATIONS) - set(exported) == {"eta_1.0"}


def test_grid__each_cell_took_the_same_steps(grid: BenchmarkMethodsConfig) -> None:
    for row in read_rows(grid.out).values():
        assert row.content["run"]["last"]["step"] == TINY.finetune_steps
    for name in MAIN:
        path = grid.out / f"pretrain_{name}.json"
        assert path.is_file() == (MAIN[name].start is not None)
        if path.is_file():
            third = name == "pseudo_labels_third"
            assert json.loads(path.read_text())["run"]["last"]["step"] == TINY.pretrain_steps // (3 if third else 1)
