"""Steps whose loss is NaN or infinite: kept, skipped, and at last the end of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from engine_tools import SETTINGS, TinyTask, assert_same, batches, train
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor

from vasomim.engine.nonfinite import NonFiniteGuard
from vasomim.errors import TrainingError
from vasomim.types import Progress, StepOutput


def spoilt(bad: set[int], value: float = math.nan, total: int = SETTINGS.total_steps) -> Callable:
    """Batches of which those in `bad` hold one `value`."""

    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for at, batch in enumerate(batches(start, total), start=start):
            if at in bad:
                batch["x"][0, 0] = value
            yield batch

    return make


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fit__skips_a_bad_step_and_keeps_its_batch(tmp_path, caplog, value):
    trained = train(tmp_path, spoilt({4}, value))
    assert trained.result.skipped == 1
    assert all(v.isfinite().all() for v in trained.weights.values()), "running statistics included"
    assert trained.metrics[1]["skipped"] == 1
    kept = torch.load(tmp_path / "nonfinite" / "step_00000004.pt", weights_only=True)
    assert kept["progress"] == {"step": 4, "total_steps": 13, "epoch": 0, "total_epochs": 4, "seed": 3}
    bad = list(spoilt({4}, value)(0))[4]["x"]
    torch.testing.assert_close(kept["batch"]["x"], bad, rtol=0, atol=0, equal_nan=True)
    assert "NaN or infinity in x" in caplog.text


def test_fit__replays_a_kept_batch_to_the_same_loss(tmp_path):
    class Fragile(TinyTask):
        def forward(self, batch, progress):
            output = super().forward(batch, progress)
            return StepOutput(output.loss * (math.inf if progress.step == 5 else 1.0), output.logs)

    make = partial(Fragile, dropout=0.0, norm=False)
    task = train(tmp_path, make_task=make, settings=replace(SETTINGS, accumulate=1)).task
    kept = torch.load(tmp_path / "nonfinite" / "step_00000005.pt", weights_only=True)
    replayed = task(kept["batch"], Progress(**kept["progress"]))
    assert replayed.loss.item() == kept["loss"] == math.inf


def test_fit__a_bad_step_changes_nothing(tmp_path):
    skipped = train(tmp_path / "a", spoilt({12}), settings=replace(SETTINGS, log_every=12))
    short = train(tmp_path / "b", settings=replace(SETTINGS, log_every=12), on_step=None)
    before = torch.load(tmp_path / "a" / "checkpoints" / "step_00000012.pt", weights_only=True)
    after = torch.load(tmp_path / "a" / "checkpoints" / "step_00000013.pt", weights_only=True)
    for name, value in before["task"].items():
        assert torch.equal(value, after["task"][name]), name
    for name, value in before["ema"]["weights"].items():
        assert torch.equal(value, after["ema"]["weights"][name]), name
    assert before["optimizer"]["state"].keys() == after["optimizer"]["state"].keys()
    for number, moments in before["optimizer"]["state"].items():
        assert all(torch.equal(v, after["optimizer"]["state"][number][k]) for k, v in moments.items())
    assert skipped.metrics[0] == short.metrics[0]


def test_fit__catches_a_bad_gradient_of_a_good_loss(tmp_path):
    class Steep(TinyTask):
        def forward(self, batch, progress):
            output = super().forward(batch, progress)
            corner = self.head[1].bias.sum() * 0
            return StepOutput(output.loss + (corner.sqrt() if progress.step == 5 else corner), output.logs)

    trained = train(tmp_path, make_task=Steep)
    assert trained.result.skipped == 1
    assert all(v.isfinite().all() for v in trained.weights.values())


def test_fit__ends_after_three_bad_steps_in_a_row(tmp_path):
    with pytest.raises(TrainingError, match=r"3 in a row.*step 7.*in x.*step_00000007\.pt.*lower learning rate"):
        train(tmp_path, spoilt({5, 6, 7}))
    assert len(list((tmp_path / "nonfinite").iterdir())) == 3


def test_fit__ends_after_ten_bad_steps_in_all(tmp_path):
    settings = replace(SETTINGS, total_steps=30)
    with pytest.raises(TrainingError, match="10 in all"):
        train(tmp_path, spoilt(set(range(0, 30, 2)), total=30), settings)


def test_fit__counts_bad_steps_across_a_resume(tmp_path):
    bad = spoilt({2, 4, 9})
    whole = train(tmp_path / "whole", bad)

    def cut(start: int) -> Iterator[dict[str, Tensor]]:
        for at, batch in enumerate(bad(start), start=start):
            if at == 7:
                raise ZeroDivisionError
            yield batch

    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "cut", cut)
    resumed = train(tmp_path / "cut", bad)
    assert resumed.result.skipped == whole.result.skipped == 3
    assert_same(resumed, whole)


def test_fit__writes_valid_json_where_a_log_is_nan(tmp_path):
    class Odd(TinyTask):
        def forward(self, batch, progress):
            output = super().forward(batch, progress)
            return StepOutput(output.loss, {**output.logs, "odd": torch.tensor(math.nan)})

    train(tmp_path, make_task=Odd)
    first = (tmp_path / "metrics.jsonl").read_text().splitlines()[0]
    assert json.loads(first, parse_constant=pytest.fail)["odd"] is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fit__with_loss_scaling_skips_and_goes_on(tmp_path):
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu")])
    settings = replace(SETTINGS, ema=None, accumulate=1)
    trained = train(tmp_path, spoilt({4}), settings, fabric=fabric)
    assert trained.result.skipped == 1
    assert all(v.isfinite().all() for v in trained.weights.values())
    saved = torch.load(tmp_path / "checkpoints" / "step_00000013.pt", weights_only=True)
    assert saved["precision"]["scale"] > 0


def test_guard__without_writing_still_counts(tmp_path):
    guard = NonFiniteGuard(tmp_path / "none", writes=False)
    guard.caught({"x": torch.zeros(2)}, Progress(0, 9, 0, 1), math.nan, 1.0)
    guard.passed()
    assert (guard.in_a_row, guard.total) == (0, 1)
    assert not (tmp_path / "none").exists()
