"""The training loop: rate, forward, backward, clip, step, average, log, validate, save.

It knows tasks, not models; a new method is a new task. Sample order and augmentation are functions of (seed, epoch,
index), what a step draws is a function of (seed, step, process), and checkpoints hold the rest. So a run that was
stopped anywhere goes on as if it had not been: on a CPU, to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vasomim.engine.checkpoints import Checkpoints
from vasomim.engine.ema import Ema
from vasomim.engine.meters import Feed, Speed, Window
from vasomim.engine.nonfinite import NonFiniteGuard
from vasomim.engine.optim import clip_gradients, load_optimizer, set_lr, unfuse
from vasomim.engine.processes import gather_batch, losses_of_processes, silenced
from vasomim.engine.run_folder import RunFolder
from vasomim.engine.schedules import Schedule, begun_epochs, epoch_of
from vasomim.engine.sharding import WholeTask, gathered, is_sharded, scattered, scattered_moments, set_up
from vasomim.engine.signals import StopFlag, stop_signals
from vasomim.engine.step import (
    Batch,
    PlainOutputs,
    RunningStatistics,
    backward,
    batch_size,
    own_randomness,
    seed_step,
    synchronise_norms,
)
from vasomim.engine.verdict import Taken, Verdict, withhold
from vasomim.errors import CheckpointError, Interrupted, TrainingError
from vasomim.ops.collectives import mean_over_processes
from vasomim.types import Progress

Validate = Callable[[nn.Module, Progress], Mapping[str, float]]
OnStep = Callable[[int, Mapping[str, float]], None]
VALIDATED = "val/"
"""What names of values of the validation begin with in the log."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long to train and what to do on the way; steps are optimiser steps."""

    total_steps: int
    steps_per_epoch: float
    """Frames / batch size; need not be whole."""
    epochs: int | None = None
    """Epochs the run is made of, or None: those that its steps begin."""
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
        total_epochs = self.epochs or begun_epochs(self.total_steps, self.steps_per_epoch)
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

    @property
    def validation(self) -> dict[str, float]:
        """What `validate` found after the last step, of the weights to export; empty without it."""
        return {name[len(VALIDATED) :]: value for name, value in self.metrics.items() if name.startswith(VALIDATED)}


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

    Afterwards the task is in evaluation mode and holds the weights to export: the average where there is one, on
    Fabric's device.

    Args:
        fabric: where and in which precision to compute. Several processes call this alike, each with its share of the
            batches; what is logged is of all of them, and only that whose `run` writes does.
        task: forward(batch, progress) -> StepOutput; put into training mode before each step.
        optimizer: over the task's trainable parameters; its groups may have an `lr_scale`.
        schedule: optimiser steps done -> learning rate.
        make_batches: optimiser step -> the batches from that step on, dicts of tensors with one first dimension. With
            `accumulate` they are cut along it, which changes nothing where the loss is a mean over it and no layer
            looks across samples (BatchNorm, a Dice of the whole batch and pairs of frames do).
        run: takes metrics, checkpoints and the batches of bad steps.
        settings: length, seed, intervals.
        validate: called without gradients, with the task in evaluation mode and its averaged weights. It cannot
            disturb the training, whatever it draws. Its values are logged under `val/`.
        on_step: called with the step and the values of every line logged.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP on any process; the message says where the run will go on.
        TrainingError: losses stay non-finite, the device is out of memory, the batches end early, or another process
            is lost.
        CheckpointError: no checkpoint can be read, or it is not of this task.
        VasomimError: something cannot be written, for example because the disk is full.
    """
    loop = _Loop(fabric, task, optimizer, run, settings, validate, on_step)
    with losses_of_processes(fabric):
        resumed_from = loop.restore()
        with stop_signals() as stop, own_randomness(fabric.device):
            loop.train(schedule, make_batches, stop)
        loop.finish()
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
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            synchronise_norms(task)
        self.whole = WholeTask(task) if is_sharded(fabric) else None
        self.model, self.optimizer = set_up(fabric, PlainOutputs(task), optimizer)
        self.validate, self.on_step = validate, on_step
        self.ema = Ema(task, settings.ema) if settings.ema is not None else None
        self.statistics = RunningStatistics(task)
        self.checkpoints = Checkpoints(run.checkpoints, settings.keep)
        self.guard = NonFiniteGuard(run.path / "nonfinite", writes=run.writes)
        self.window, self.speed = Window(), Speed(fabric.device)
        self.metrics: dict[str, float] = {}
        self.step = self.validated = 0
        self.taken: Taken | None = None
        self.told_to_stop = False

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
            self.update(batch, settings.progress(self.step), stop)
            self.step += 1
            self.speed.add(batch_size(batch) * self.fabric.world_size, time.perf_counter() - began)
            if settings.due(self.step, settings.log_every):
                self.settle()
                self.window.average(mean_over_processes)
                self.log({**self.window.flush(), "lr": lr, **self.speed.flush(feed.take_waited())})
            stopping = self.stopping(stop)
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
            # A Ctrl-C reaches the data workers too. If they die of it, nothing is half done here; other processes may
            # be in the midst of a step, though, and cannot save with this one.
            if not stop.requested or isinstance(error, TrainingError) or self.fabric.world_size > 1:
                raise
            self.save()
            raise self.interrupted() from error

    def update(self, batch: Batch, progress: Progress, stop: StopFlag) -> None:
        """Tell the device to take one optimiser step, or none if the loss or its gradient is not finite.

        The host learns which it was when it tells the device of the next step (`settle`), and never waits for the
        device while that has nothing to do.
        """
        seed_step(self.settings.seed, progress.step, self.fabric.global_rank, self.fabric.device)
        self.task.train()
        self.statistics.keep()
        self.optimizer.zero_grad(set_to_none=True)
        logs, norm = self.gradients(batch, progress)
        # With loss scaling, infinite gradients are the scaler's business.
        finite = logs["loss"].isfinite() & (norm.isfinite() | self.scales_loss)
        verdict = Verdict(~finite, stop=stop.requested)
        self.settle()
        if not self.scales_loss:
            withhold(self.optimizer.optimizer, verdict.bad)
        elif verdict.read()[0]:  # the scaler waits for the device in any case
            self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.step()
        self.statistics.restore(verdict.bad)
        self.taken = Taken(verdict, batch, progress, logs, norm)

    def settle(self) -> None:
        """Take note of how the step before went; until then its weights are the present ones.

        Raises:
            TrainingError: too many steps were bad.
        """
        if self.taken is None:
            return
        taken, self.taken = self.taken, None
        bad, stop = taken.verdict.read()
        self.told_to_stop |= stop
        if bad:
            loss = mean_over_processes(taken.logs["loss"])
            self.guard.caught(gather_batch(taken.batch), taken.progress, float(loss), float(taken.grad_norm))
            return
        self.guard.passed()
        self.window.add({**taken.logs, "grad_norm": taken.grad_norm})
        if self.ema is not None:
            self.ema.update(self.task)

    def stopping(self, stop: StopFlag) -> bool:
        """Whether to stop after this step. Several processes stop after the same one, which all heard of."""
        return stop.requested if self.fabric.world_size == 1 else self.told_to_stop

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
                f"accumulate={self.settings.accumulate} part(s); raise accumulate, whose effects docs/training.md names"
            ) from error
        self.fabric.strategy.precision.unscale_gradients(self.optimizer.optimizer)
        return logs, clip_gradients(self.optimizer, self.settings.clip_grad)

    def check(self) -> bool:
        """Validate and log if it is due and not done yet; returns whether it was."""
        settings = self.settings
        if self.validate is None or self.validated == self.step or not settings.due(self.step, settings.validate_every):
            return False
        self.settle()
        self.task.eval()
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(own_randomness(self.fabric.device))
            stack.enter_context(self.fabric.autocast())
            if self.ema is not None:
                stack.enter_context(self.ema.applied(self.task))
            if self.whole is not None:
                stack.enter_context(self.whole.applied())
            seed_step(settings.seed, self.step, self.fabric.global_rank, self.fabric.device, validation=True)
            values = self.validate(self.task, settings.progress(self.step))
        self.log({f"{VALIDATED}{name}": value for name, value in values.items()})
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
        """All that the next step depends on, and the counts and means of the log; whole where weights are split."""
        self.window.average(mean_over_processes)
        parts = {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
        }
        return {
            **(gathered(parts, keep=self.run.writes) if self.whole is not None else parts),
            "precision": self.fabric.strategy.precision.state_dict(),
            "window": self.window.state_dict(),
            "guard": self.guard.state_dict(),
            "metrics": self.metrics,
            "validated": self.validated,
        }

    def save(self) -> None:
        """Write a checkpoint; nobody goes on before it is there."""
        self.settle()
        state = self.state()
        if self.run.writes:
            self.checkpoints.save(self.step, state)
        self.fabric.barrier()

    def restore(self) -> int | None:
        """Take the state of the newest checkpoint, if there is one; returns its step.

        Raises:
            CheckpointError: none can be read, it is not of this task, or other processes found another one.
        """
        state = self.checkpoints.latest()
        found = -1 if state is None else state["step"]
        if self.fabric.broadcast(found) != found:
            raise CheckpointError(
                f"process {self.fabric.global_rank} found another newest checkpoint in {self.checkpoints.folder} than "
                "the first one did; put --out on a file system that all machines share"
            )
        if state is not None:
            try:
                self.load(state)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"the checkpoint of step {state['step']} in {self.checkpoints.folder} is not of this task "
                    f"({str(error).strip().splitlines()[0]}); choose another --out"
                ) from error
        self.run.truncate_metrics(self.step)
        return None if state is None else self.step

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state` returned, on any number of processes."""
        moments = state["optimizer"]
        if self.whole is not None:
            moments = scattered_moments(moments, self.optimizer)
        self.task.load_state_dict(scattered(state["task"], self.task.state_dict()))
        load_optimizer(self.optimizer, moments)
        if state["precision"]:  # a loss scale; empty in every other precision
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.ema is not None:
            self.ema.load_state_dict(scattered(state["ema"], self.ema.state_dict()))
        self.window.load_state_dict(state["window"], self.fabric.device)
        self.guard.load_state_dict(state["guard"])
        self.metrics = dict(state["metrics"])
        self.step = state["step"]
        self.validated = state["validated"]

    def finish(self) -> None:
        """Leave the weights to export in the task, ready to be measured.

        What is measured next must not train it: normalisation layers left in training mode would take the measured
        frames into their running statistics.
        """
        self.task.eval()
        if self.ema is not None:
            self.ema.copy_to(self.task)
        if self.whole is not None:
            self.whole.restore()

    def interrupted(self) -> Interrupted:
        """The error that ends a run on request."""
        return silenced(
            Interrupted(
                f"stopped at step {self.step} of {self.settings.total_steps}; run the same command again to go on"
            ),
            self.fabric,
        )
