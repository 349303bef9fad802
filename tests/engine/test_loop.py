"""The loop: exact resume, accumulation, validation, signals, what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from signal import SIGINT, SIGTERM, Signals, raise_signal

import engine_tools
import pytest
import torch
from engine_tools import SETTINGS, TinyTask, assert_same, batches, train
from torch import Tensor, nn

from vasomim.engine.checkpoints import load_tensors
from vasomim.engine.fabric import build_fabric
from vasomim.errors import CheckpointError, Interrupted, TrainingError
from vasomim.types import Progress


class Crash(Exception):
    """Stands for whatever ends a process."""


def crash_at(step: int):
    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for at, batch in enumerate(batches(start), start=start):
            if at == step:
                raise Crash
            yield batch

    return make


def draw(module: nn.Module, progress: Progress) -> dict[str, float]:
    """A validation that draws and remembers nothing."""
    return {"training": float(module.training), "noise": float(torch.rand(())), "step": progress.step}


@pytest.mark.parametrize("step", [1, 5, 6, 12])
def test_fit__resumes_to_the_bit_after_a_crash(tmp_path, step):
    whole = train(tmp_path / "whole", validate=draw)
    with pytest.raises(Crash):
        train(tmp_path / "cut", crash_at(step), validate=draw)
    resumed = train(tmp_path / "cut", validate=draw)
    assert resumed.result.resumed_from == (step // 4 * 4 or None)
    assert_same(resumed, whole)


def test_fit__resumes_to_the_bit_after_several_crashes(tmp_path):
    for step in (3, 6, 9, 11):
        with pytest.raises(Crash):
            train(tmp_path / "cut", crash_at(step), replace(SETTINGS, save_every=1))
    assert_same(train(tmp_path / "cut"), train(tmp_path / "whole"))


def test_fit__saves_on_sigterm_and_resumes_to_the_bit(tmp_path):
    command = [sys.executable, engine_tools.__file__, tmp_path / "cut", str(torch.get_num_threads())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for step in range(6):
            assert process.stdout.readline() == f"at {step}\n"
            if step == 5:
                process.send_signal(SIGTERM)  # it is there before the line that lets the run go on
            print(flush=True, file=process.stdin)
        said = process.stdout.read()
    assert process.returncode == 130
    assert "stopped at step 6 of 13" in said
    assert "run the same command again" in said
    resumed = train(tmp_path / "cut")
    assert resumed.result.resumed_from == 6
    assert_same(resumed, train(tmp_path / "whole"))


def signal_at(step: int, number: Signals, then: type[Exception] | None = None):
    """Batches that raise a signal, and then perhaps an error, when batch `step` is asked for the first time."""

    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for at, batch in enumerate(batches(start), start=start):
            if at == step and start == 0:
                raise_signal(number)
                if then is not None:
                    raise then
            yield batch

    return make


def test_fit__validates_after_resuming_what_a_signal_left_out(tmp_path):
    settings = replace(SETTINGS, validate_every=6)
    whole = train(tmp_path / "whole", settings=settings, validate=draw)
    with pytest.raises(Interrupted, match="stopped at step 6"):
        train(tmp_path / "cut", signal_at(5, SIGINT), settings, validate=draw)
    assert_same(train(tmp_path / "cut", settings=settings, validate=draw), whole)


def test_fit__saves_where_a_signal_ends_the_reading(tmp_path):
    with pytest.raises(Interrupted, match="stopped at step 5"):
        train(tmp_path / "cut", signal_at(5, SIGINT, then=RuntimeError))
    resumed = train(tmp_path / "cut")
    assert resumed.result.resumed_from == 5
    assert_same(resumed, train(tmp_path / "whole"))


def test_fit__returns_at_once_where_the_run_is_complete(tmp_path):
    whole = train(tmp_path / "run")

    def never(start: int) -> Iterator[dict[str, Tensor]]:
        raise AssertionError(start)

    again = train(tmp_path / "run", never)
    assert again.result.resumed_from == again.result.step == SETTINGS.total_steps
    assert again.result.metrics == whole.result.metrics
    assert_same(again, whole)
    assert not any(part.training for part in again.task.modules())


def test_fit__accumulates_to_the_gradient_of_the_whole_batch(tmp_path):
    results = {}
    for parts in (1, 3, 4, 100):
        settings = replace(SETTINGS, accumulate=parts, ema=None)
        make = partial(TinyTask, dropout=0.0, norm=False)
        results[parts] = train(tmp_path / str(parts), settings=settings, make_task=make)
    for parts in (3, 4, 100):
        for name, value in results[1].weights.items():
            torch.testing.assert_close(results[parts].weights[name], value, rtol=0, atol=1e-6)
        for ours, theirs in zip(results[parts].metrics, results[1].metrics, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


def test_fit__validation_cannot_change_training(tmp_path):
    def meddle(module: nn.Module, progress: Progress) -> dict[str, float]:
        module(next(iter(batches(progress.step - 1))), progress)
        torch.manual_seed(0)
        return draw(module, progress)

    often = train(tmp_path / "often", settings=replace(SETTINGS, validate_every=1), validate=meddle)
    seldom = train(tmp_path / "seldom", settings=replace(SETTINGS, validate_every=1000))
    for name, value in seldom.weights.items():
        assert torch.equal(value, often.weights[name]), name
    training = [line for line in often.metrics if "loss" in line]
    assert training == seldom.metrics
    assert [line["val/step"] for line in often.metrics if "val/step" in line] == list(range(1, 14))
    assert all(line["val/training"] == 0 for line in often.metrics if "val/training" in line)


def test_fit__leaves_the_callers_randomness_alone(tmp_path):
    train(tmp_path / "a", settings=replace(SETTINGS, total_steps=2))
    one = torch.rand(1)
    train(tmp_path / "b", settings=replace(SETTINGS, total_steps=5))
    assert torch.equal(one, torch.rand(1))


def test_fit__steps_draw_differently(tmp_path):
    def same(start: int) -> Iterator[dict[str, Tensor]]:
        return (next(batches(0)) for _ in range(start, 3))

    def still() -> TinyTask:
        task = TinyTask(norm=False)
        task.encoder.requires_grad_(False)
        task.head[1].weight.requires_grad_(False)
        return task

    settings = replace(SETTINGS, total_steps=3, accumulate=1, steps_per_epoch=10, clip_grad=1e-30)
    seen = train(tmp_path, same, settings, still).task.seen
    assert len({round(loss, 3) for loss in seen}) == 3


def test_fit__exports_the_average_and_trains_the_raw_weights(tmp_path):
    raw = train(tmp_path / "raw", settings=replace(SETTINGS, ema=None))
    averaged = train(tmp_path / "ema")
    assert raw.task.seen == averaged.task.seen
    assert not torch.equal(raw.weights["head.1.weight"], averaged.weights["head.1.weight"])
    state = load_tensors(tmp_path / "ema" / "checkpoints" / "step_00000013.pt")
    assert torch.equal(state["task"]["head.1.weight"], raw.weights["head.1.weight"])
    assert torch.equal(state["ema"]["weights"]["head.1.weight"], averaged.weights["head.1.weight"])


def test_fit__clips_the_gradient(tmp_path):
    clipped = train(tmp_path / "a", settings=replace(SETTINGS, clip_grad=1e-12))
    torch.manual_seed(0)
    start = TinyTask().state_dict()["head.1.weight"]
    assert (clipped.weights["head.1.weight"] - start).abs().max() < 2e-3
    assert (train(tmp_path / "b").weights["head.1.weight"] - start).abs().max() > 1e-2
    assert all(line["grad_norm"] > 1e-3 for line in clipped.metrics)


def test_fit__in_bf16_computes_in_autocast_and_leaves_the_batch_as_it_is(tmp_path):
    seen = []

    class Watching(TinyTask):
        def forward(self, batch, progress):
            output = super().forward(batch, progress)
            seen.append((batch["x"].dtype, self.encoder[0](batch["x"]).dtype, output.loss.dtype))
            return output

    fabric = build_fabric("cpu", "bf16")
    trained = train(tmp_path, make_task=Watching, fabric=fabric, validate=draw)
    assert set(seen) == {(torch.float32, torch.bfloat16, torch.float32)}
    assert trained.weights["head.1.weight"].dtype == torch.float32
    assert trained.result.step == SETTINGS.total_steps


def test_fit__tells_of_every_line(tmp_path):
    told: list[tuple[int, dict[str, float]]] = []
    trained = train(tmp_path, validate=draw, on_step=lambda step, values: told.append((step, dict(values))))
    assert [step for step, _ in told] == [line["step"] for line in trained.metrics] == [3, 6, 9, 12, 13, 13]
    assert told[0][1]["samples_per_second"] > 0
    assert 0 <= told[0][1]["data_wait"] <= 1
    assert told[0][1]["peak_memory_mib"] > 1
    assert trained.result.metrics["val/step"] == 13


def test_fit__logs_how_long_it_waits_for_data(tmp_path, monkeypatch):
    """By a clock that stands still but while a batch is awaited, 3 seconds, and while it is learned from, 1 second."""
    now = [0.0]
    monkeypatch.setattr("vasomim.engine.meters.time.perf_counter", lambda: now[0])

    def late(start: int) -> Iterator[dict[str, Tensor]]:
        for batch in batches(start):
            now[0] += 3
            yield batch

    class Slow(TinyTask):
        def forward(self, batch, progress):
            now[0] += 1 / 2  # a batch is learned from in two parts
            return super().forward(batch, progress)

    metrics = train(tmp_path, late, make_task=Slow).result.metrics
    assert metrics["data_wait"] == pytest.approx(3 / 4)
    assert metrics["samples_per_second"] == pytest.approx(8 / 4)


def test_fit__says_that_the_batches_ended_early(tmp_path):
    with pytest.raises(TrainingError, match="ended before step 5"):
        train(tmp_path, lambda start: batches(start, total=5))


def test_fit__turns_lack_of_memory_into_advice(tmp_path):
    class Hungry(TinyTask):
        def forward(self, batch, progress):  # noqa: ARG002
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"step 0 with 8 samples .* raise accumulate"):
        train(tmp_path, make_task=Hungry)


def test_fit__refuses_a_checkpoint_of_another_task(tmp_path):
    train(tmp_path)
    with pytest.raises(CheckpointError, match="is not of this task"):
        train(tmp_path, make_task=partial(TinyTask, norm=False))


def test_fit__goes_on_from_the_checkpoint_before_a_corrupt_one(tmp_path, caplog):
    with pytest.raises(Crash):
        train(tmp_path / "cut", crash_at(11), replace(SETTINGS, keep=3))
    newest = tmp_path / "cut" / "checkpoints" / "step_00000008.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = train(tmp_path / "cut")
    assert resumed.result.resumed_from == 4
    assert "trying the checkpoint before it" in caplog.text
    assert_same(resumed, train(tmp_path / "whole"))


def test_progress__counts_epochs_from_zero_and_never_past_the_last():
    settings = replace(SETTINGS, total_steps=30, steps_per_epoch=0.3)
    assert [settings.progress(step).epoch for step in (0, 3, 6, 29)] == [0, 10, 20, 96]
    assert settings.progress(30).epoch == settings.progress(0).total_epochs - 1 == 99
