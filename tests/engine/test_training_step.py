"""The step as it is tuned: the losses of a plain one, no wait for the device, blocks that forget or are compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from engine_tools import SETTINGS, TinyTask, batches, train
from task_tools import BATCH, Frames, frame_batches, pretraining, run
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vasomim.engine.blocks import checkpoint_activations, compile_blocks, transformer_blocks
from vasomim.engine.loop import FitSettings
from vasomim.engine.optim import parameter_groups, set_lr
from vasomim.engine.schedules import cosine_schedule
from vasomim.models import unext
from vasomim.models.vit import Attention
from vasomim.types import Progress, StepOutput

STEPS = 20
PLAIN = FitSettings(total_steps=STEPS, steps_per_epoch=len(Frames()) / BATCH, seed=SETTINGS.seed)
make_task = partial(pretraining, drop_path_rate=0.0)


def attention_by_the_book(self: Attention, x: Tensor) -> Tensor:
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


def plain_losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first losses of a loop without any of our means: one kernel a weight, a wait a step."""
    with monkeypatch.context() as patch:
        patch.setattr(Attention, "forward", attention_by_the_book)
        patch.setattr(unext, "conv_norm", lambda x, conv, norm: norm(conv(x)))
        torch.manual_seed(0)
        task = make_task().train()
        weights = [weight for weight in task.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(parameter_groups(task, 0.05), betas=(0.9, 0.95), foreach=False, fused=False)
        schedule, losses = cosine_schedule(STEPS, 2, 1e-2), []
        for step, batch in enumerate(frame_batches(steps=STEPS)(0)):
            set_lr(optimizer, schedule(step))
            optimizer.zero_grad()
            loss = task(batch, PLAIN.progress(step)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0, foreach=False)
            if loss.isfinite():
                optimizer.step()
            losses.append(float(loss.detach()))
        return losses


def tuned_losses(
    folder: Path, prepare: Callable[[nn.Module], object] = nn.Module.train, **changes: object
) -> list[float]:
    """The first losses of our loop on a task that `prepare` was called with."""

    def make() -> nn.Module:
        task = make_task().to(memory_format=torch.channels_last)
        prepare(task)
        return task

    changes = {"total_steps": STEPS, "clip_grad": 1.0, "ema": None, "accumulate": 1, **changes}
    return [line["loss"] for line in run(folder, make, frame_batches(steps=STEPS), changes=changes).metrics]


def test_fit__has_the_losses_of_a_plain_loop(tmp_path, monkeypatch):
    plain = plain_losses(monkeypatch)
    assert len(plain) == STEPS
    assert plain[-1] < 0.95 * plain[0], "something is learned, so that a difference would grow"
    assert tuned_losses(tmp_path / "whole") == pytest.approx(plain, rel=1e-3)
    forgotten = tuned_losses(tmp_path / "forgotten", checkpoint_activations, accumulate=2, log_every=1)
    assert forgotten == pytest.approx(plain, rel=1e-3)


class Waits(TorchDispatchMode):
    """Counts the calls that bring a number of a tensor to the host: on a GPU, each waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class Silent(TinyTask):
    def forward(self, batch, progress: Progress) -> StepOutput:  # noqa: ARG002
        error = (self.head(self.encoder(batch["x"])) - batch["y"]).square().mean()
        return StepOutput(error, {"error": error.detach()})


@pytest.mark.parametrize("clip_grad", [None, 1.0])
def test_fit__a_step_waits_for_nothing(tmp_path, clip_grad):
    waits = []

    def counted(start: int):
        with Waits() as mode:
            for batch in batches(start):
                waits.append(mode.count)
                yield batch

    settings = {**vars(SETTINGS), "log_every": 6, "save_every": 1000, "clip_grad": clip_grad}
    train(tmp_path, counted, FitSettings(**settings), Silent)
    assert waits[1:6] == [waits[0]] * 5
    assert waits[6] > waits[5], "a line of the log does, so the counter counts"


def test_task__asks_the_segmentor_once_for_guidance_and_target():
    task, calls = make_task().train(), []
    task.segmentor.register_forward_hook(lambda *call: calls.append(call[-1].requires_grad))
    task(next(iter(frame_batches()(0))), PLAIN.progress(0))
    assert calls == [False, True], "the frames without a graph, the reconstruction with one"


def gradients(task: nn.Module, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Gradients of one step, and the bytes that the forward pass kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = task(batch, PLAIN.progress(0)).loss
    loss.backward()
    return {name: weight.grad for name, weight in task.named_parameters() if weight.grad is not None}, sum(
        kept.values()
    )


def test_checkpoint_activations__saves_memory_and_changes_nothing():
    task = pretraining(drop_path_rate=0.5).train()
    forgetful = copy.deepcopy(task)
    assert checkpoint_activations(forgetful) == len(transformer_blocks(task)) == 3
    batch = next(iter(frame_batches()(0)))
    (ours, less), (theirs, more) = gradients(forgetful, batch), gradients(task, batch)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], msg=lambda text, name=name: f"{name}: {text}")
    assert less < 0.7 * more


def test_transformer_blocks__leave_frozen_ones_out():
    task = make_task()
    task.mae.encoder.requires_grad_(False)
    assert transformer_blocks(task) == list(task.mae.decoder_blocks)
    assert transformer_blocks(nn.Linear(2, 2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_blocks__same_losses_and_resumes(tmp_path, monkeypatch, backend):
    plain = plain_losses(monkeypatch)
    prepare = partial(compile_blocks, backend=backend)
    assert tuned_losses(tmp_path / "compiled", prepare) == pytest.approx(plain, rel=1e-3)
    (tmp_path / "compiled" / "checkpoints" / "step_00000020.pt").unlink()
    assert tuned_losses(tmp_path / "compiled", prepare) == pytest.approx(plain, rel=1e-3), "from step 18 on"
    (tmp_path / "compiled" / "checkpoints" / "step_00000020.pt").unlink()
    assert tuned_losses(tmp_path / "compiled") == pytest.approx(plain, rel=1e-3), "and without compiling"
