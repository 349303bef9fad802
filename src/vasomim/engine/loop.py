"""The training loop: rate, forward, backward, clip, step, average, log, validate, save.

It knows tasks, not models; a new method is a new task. Sample order and augmentation are functions of (seed, epoch,
index), what a step draws is a function of (seed, step, process), and checkpoints hold the rest. So a run that was
stopped anywhere goes on as if it had not been: on a CPU, to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vasomim.engine.checkpoints import Checkpoints
from vasomim.engine.ema import Ema
from vasomim.engine.meters import Feed, Speed, Window
from vasomim.engine.nonfinite import NonFiniteGuard
from vasomim.engine.optim import load_optimizer, set_lr, unfuse
from vasomim.engine.runs import RunFolder
from vasomim.engine.schedules import Schedule, epoch_of
from vasomim.engine.signals import StopFlag, stop_signals
from vasomim.engine.step import Batch, PlainOutputs, RunningStatistics, backward, batch_size, own_randomness, seed_step
from vasomim.errors import CheckpointError, Interrupted, TrainingError
from vasomim.types import Progress

Validate = Callable[[nn.Module, Progress], Mapping[str, float]]
OnStep = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long to train and what to do on the way; steps are optimiser steps."""

    total_steps: int
    steps_per_epoch: float
    """Frames / batch size; need not be whole."""
    seed: int = 0
    """Seed of what the task draws, such as dropout."""
    accumulate: int = 1
    """Parts a batch is computed in."""
    clip_grad: float | None = None
    """Largest gradient norm, or None."""
    ema: float | None = None
    """Decay of the weight average, or None."""
    log_every: int = 10
    save_every: int = 250
    validate_every: int = 250
    keep: int = 2
    """Checkpoints kept."""

    def progress(self, step: int) -> Progress:
        """Where a run stands after `step` steps."""
        total_epochs = max(math.ceil(self.total_steps / self.steps_per_epoch - 1e-9), 1)
        epoch = min(epoch_of(step, self.steps_per_epoch), total_epochs - 1)
        return Progress(step, self.total_steps, epoch, total_epochs, self.seed)

    def due(self, step: int, every: int) -> bool:
        """Whether what is done every `every` steps, and at the end, is due after `step` steps."""
        return step > 0 and (step % every == 0 or step == self.total_steps)


@dataclass(frozen=True)
class FitResult:
    """How a run ended."""

    step: int
    resumed_from: int | None
    """Step of the checkpoint it went on from; None if it began anew."""
    metrics: Mapping[str, float]
    """The last values logged, those of the validation under `val/`."""
    skipped: int = 0
    """Steps skipped because the loss or its gradient was not finite."""


def fit(
    fabric: Fabric,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    make_batches: Callable[[int], Iterable[Batch]],
    run: RunFolder,
    settings: FitSettings,
    validate: Validate | None = None,
    on_step: OnStep | None = None,
) -> FitResult:
    """Train `task` from the newest checkpoint of `run`, or else from its present weights, to the last step.

    Afterwards the task holds the weights to export: the average where there is one, on Fabric's device.

    Args:
        fabric: where and in which precision to compute.
        task: forward(batch, progress) -> StepOutput; put into training mode before each step.
        optimizer: over the task's trainable parameters; its groups may have an `lr_scale`.
        schedule: optimiser steps done -> learning rate.
        make_batches: optimiser step -> the batches from that step on, dicts of tensors with one first dimension. With
            `accumulate` they are cut along it, which changes nothing where the loss is a mean over it and no layer
            looks across samples (BatchNorm and a Dice of the whole batch do).
        run: takes metrics, checkpoints and the batches of bad steps.
        settings: length, seed, intervals.
        validate: called without gradients, with the task in evaluation mode and its averaged weights. It cannot
            disturb the training, whatever it draws. Its values are logged under `val/`.
        on_step: called with the step and the values of every line logged.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the message says where the run will go on.
        TrainingError: losses stay non-finite, the device is out of memory, or the batches end early.
        CheckpointError: no checkpoint can be read, or it is not of this task.
        VasomimError: something cannot be written, for example because the disk is full.
    """
    loop = _Loop(fabric, task, optimizer, run, settings, validate, on_step)
    resumed_from = loop.restore()
    with stop_signals() as stop, own_randomness(fabric.device):
        loop.train(schedule, make_batches, stop)
    if loop.ema is not None:
        loop.ema.copy_to(task)
    return FitResult(loop.step, resumed_from, loop.metrics, loop.guard.total)


class _Loop:
    """What the loop holds between two steps."""

    def __init__(
        self,
        fabric: Fabric,
        task: nn.Module,
        optimizer: torch.optim.Optimizer,
        run: RunFolder,
        settings: FitSettings,
        validate: Validate | None,
        on_step: OnStep | None,
    ) -> None:
        self.fabric, self.task, self.run, self.settings = fabric, task, run, settings
        self.scales_loss = getattr(fabric.strategy.precision, "scaler", None) is not None
        if self.scales_loss:
            unfuse(optimizer)  # a fused one would unscale the gradients itself, after they are clipped
        self.model, self.optimizer = fabric.setup(PlainOutputs(task), optimizer)
        self.validate, self.on_step = validate, on_step
        self.ema = Ema(task, settings.ema) if settings.ema is not None else None
        self.statistics = RunningStatistics(task)
        self.checkpoints = Checkpoints(run.checkpoints, settings.keep)
        self.guard = NonFiniteGuard(run.path / "nonfinite", writes=run.writes)
        self.window, self.speed = Window(), Speed(fabric.device)
        self.metrics: dict[str, float] = {}
        self.step = self.validated = 0

    def train(self, schedule: Schedule, make_batches: Callable[[int], Iterable[Batch]], stop: StopFlag) -> None:
        """Go on from `self.step` to the last step."""
        settings = self.settings
        if self.check():  # a stop may have come before it
            self.save()
        if self.step >= settings.total_steps:
            return
        feed = Feed(make_batches(self.step))
        while self.step < settings.total_steps:
            began = time.perf_counter()
            lr = schedule(self.step)
            set_lr(self.optimizer, lr)
            batch = self.fetch(feed, stop)
            self.update(batch, settings.progress(self.step))
            self.step += 1
            self.speed.add(batch_size(batch) * self.fabric.world_size, time.perf_counter() - began)
            if settings.due(self.step, settings.log_every):
                self.log({**self.window.flush(), "lr": lr, **self.speed.flush(feed.take_waited())})
            stopping = self.any_process(stop.requested)
            if not stopping:
                self.check()
            if stopping or settings.due(self.step, settings.save_every):
                self.save()
            if stopping:
                raise self.interrupted()

    def fetch(self, feed: Feed, stop: StopFlag) -> Batch:
        """The next batch, on the device."""
        try:
            batch: Batch = self.fabric.to_device(feed.next(self.step))
            return batch
        except Exception as error:
            # A Ctrl-C reaches the data workers too. If they die of it, nothing is half done here.
            if not stop.requested or isinstance(error, TrainingError):
                raise
            self.save()
            raise self.interrupted() from error

    def update(self, batch: Batch, progress: Progress) -> None:
        """One optimiser step, or none if the loss or its gradient is not finite."""
        seed_step(self.settings.seed, progress.step, self.fabric.global_rank, self.fabric.device)
        self.task.train()
        self.statistics.keep()
        self.optimizer.zero_grad(set_to_none=True)
        logs, norm = self.gradients(batch, progress)
        # With loss scaling, infinite gradients are the scaler's business. This is the one wait for the device in a
        # step: forward, backward and clipping are queued by then, and no bad step ever reaches the weights.
        finite = logs["loss"].isfinite() & (norm.isfinite() | self.scales_loss)
        if self.any_process(~finite):
            self.optimizer.zero_grad(set_to_none=True)
            self.statistics.restore()
            self.guard.caught(batch, progress, float(logs["loss"]), float(norm))
            if self.scales_loss:
                self.optimizer.step()  # there are no gradients; the scaler wants its turn
            return
        self.optimizer.step()
        self.guard.passed()
        self.window.add({**logs, "grad_norm": norm})
        if self.ema is not None:
            self.ema.update(self.task)

    def gradients(self, batch: Batch, progress: Progress) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Scalars to log and the norm of the gradient before it is clipped.

        Raises:
            TrainingError: the device is out of memory.
        """
        try:
            logs = backward(self.fabric, self.model, batch, progress, self.settings.accumulate)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"out of memory on {self.fabric.device} at step {progress.step} with {batch_size(batch)} samples in "
                f"accumulate={self.settings.accumulate} part(s); raise accumulate, the result stays the same"
            ) from error
        bound = self.settings.clip_grad or math.inf  # an infinite bound clips nothing; the norm is wanted in any case
        norm = self.fabric.clip_gradients(self.model, self.optimizer, max_norm=bound, error_if_nonfinite=False)
        return logs, torch.as_tensor(norm)

    def check(self) -> bool:
        """Validate and log if it is due and not done yet; returns whether it was."""
        settings = self.settings
        if self.validate is None or self.validated == self.step or not settings.due(self.step, settings.validate_every):
            return False
        self.task.eval()
        averaged = self.ema.applied(self.task) if self.ema is not None else nullcontext()
        with torch.no_grad(), own_randomness(self.fabric.device), self.fabric.autocast(), averaged:
            seed_step(settings.seed, self.step, self.fabric.global_rank, self.fabric.device, validation=True)
            values = self.validate(self.task, settings.progress(self.step))
        self.log({f"val/{name}": value for name, value in values.items()})
        self.validated = self.step
        return True

    def log(self, values: Mapping[str, float]) -> None:
        """Write a line of metrics.jsonl and tell the caller."""
        self.metrics.update(values)
        epoch = round(self.step / self.settings.steps_per_epoch, 4)
        self.run.append({"step": self.step, "epoch": epoch, "skipped": self.guard.total, **values})
        if self.on_step is not None:
            self.on_step(self.step, values)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, and the counts and means of the log."""
        return {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "window": self.window.state_dict(),
            "guard": self.guard.state_dict(),
            "metrics": self.metrics,
            "validated": self.validated,
        }

    def save(self) -> None:
        """Write a checkpoint; nobody goes on before it is there."""
        if self.run.writes:
            self.checkpoints.save(self.step, self.state())
        self.fabric.barrier()

    def restore(self) -> int | None:
        """Take the state of the newest checkpoint, if there is one; returns its step.

        Raises:
            CheckpointError: none can be read, or it is not of this task.
        """
        state = self.checkpoints.latest()
        if state is not None:
            try:
                self.task.load_state_dict(state["task"])
                load_optimizer(self.optimizer, state["optimizer"])
                if state["precision"]:  # a loss scale; empty in every other precision
                    self.fabric.strategy.precision.load_state_dict(state["precision"])
                if self.ema is not None:
                    self.ema.load_state_dict(state["ema"])
                self.window.load_state_dict(state["window"], self.fabric.device)
                self.guard.load_state_dict(state["guard"])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"the checkpoint of step {state['step']} in {self.checkpoints.folder} is not of this task "
                    f"({str(error).strip().splitlines()[0]}); choose another --out"
                ) from error
            self.metrics = dict(state["metrics"])
            self.step = state["step"]
            self.validated = state["validated"]
        self.run.truncate_metrics(self.step)
        return None if state is None else self.step

    def any_process(self, flag: bool | torch.Tensor) -> bool:
        """Whether `flag` is true on any process; waits for the device where it is a tensor."""
        if self.fabric.world_size == 1:
            return bool(flag)
        raised = torch.as_tensor(flag, device=self.fabric.device).float()
        return bool(torch.as_tensor(self.fabric.all_reduce(raised, reduce_op="sum")) > 0)

    def interrupted(self) -> Interrupted:
        """The error that ends a run on request."""
        return Interrupted(
            f"stopped at step {self.step} of {self.settings.total_steps}; run the same command again to go on"
        )
