"""A tiny task and run for the engine's tests; also a script, so that a test can send signals to a real process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vasomim.engine.fabric import build_fabric
from vasomim.engine.loop import FitResult, FitSettings, fit
from vasomim.engine.optim import build_optimizer, parameter_groups
from vasomim.engine.processes import first_alone
from vasomim.engine.run_folder import RunFolder
from vasomim.engine.schedules import cosine_schedule
from vasomim.errors import Interrupted
from vasomim.types import Progress, StepOutput

SETTINGS = FitSettings(
    total_steps=13, steps_per_epoch=4.3, seed=3, accumulate=2, clip_grad=1.0, ema=0.9, log_every=3, save_every=4
)
TIMING = ("samples_per_second", "data_wait", "peak_memory_mib")


class TinyTask(nn.Module):
    """Regression with all that makes resuming hard: dropout, running statistics, a loss that knows its epoch."""

    def __init__(self, dropout: float = 0.3, norm: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12) if norm else nn.Identity())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(12, 1))
        self.seen: list[float] = []

    def forward(self, batch: Mapping[str, Tensor], progress: Progress) -> StepOutput:
        error = (self.head(self.encoder(batch["x"])) - batch["y"]).square().mean()
        loss = error * (1 + 0.1 * progress.epoch)
        self.seen.append(float(loss.detach()))
        return StepOutput(loss, {"error": error.detach()})


def batches(start: int, total: int = SETTINGS.total_steps, size: int = 8) -> Iterator[dict[str, Tensor]]:
    """Batch k is a function of k."""
    for step in range(start, total):
        noise = torch.Generator().manual_seed(100 + step)
        x = torch.randn(size, 6, generator=noise)
        yield {"x": x, "y": x.sum(1, keepdim=True) + 0.1 * torch.randn(size, 1, generator=noise)}


@dataclass
class Trained:
    """What a finished run leaves to compare."""

    result: FitResult
    task: TinyTask
    metrics: list[dict[str, Any]]
    weights: dict[str, Tensor] = field(default_factory=dict)


def train(
    folder: Path,
    make_batches: Callable[[int], Iterator[dict[str, Tensor]]] = batches,
    settings: FitSettings = SETTINGS,
    make_task: Callable[[], TinyTask] = lambda: TinyTask(),
    **kwargs: Any,
) -> Trained:
    """One `fit` on the CPU, from random weights that are always the same."""
    torch.manual_seed(0)
    task = make_task()
    optimizer = build_optimizer(parameter_groups(task, 0.05), lr=1e-2)
    schedule = cosine_schedule(settings.total_steps, 2, 1e-2)
    fabric = kwargs.pop("fabric", None) or build_fabric("cpu", "fp32")
    with first_alone(fabric):
        run = RunFolder.open(folder, "lr: 0.01\n", "pretrain", {"seed": settings.seed}, writer=fabric.is_global_zero)
    with run:
        result = fit(fabric, task, optimizer, schedule, make_batches, run, settings, **kwargs)
        metrics = [{k: v for k, v in line.items() if k not in TIMING} for line in run.metrics()]
    return Trained(result, task, metrics, {k: v.clone() for k, v in task.state_dict().items()})


def assert_same(a: Trained, b: Trained) -> None:
    """Weights, running statistics and every logged value are equal to the bit."""
    assert a.metrics == b.metrics
    assert a.weights.keys() == b.weights.keys()
    for name, value in a.weights.items():
        assert torch.equal(value, b.weights[name]), name


def led_batches(start: int) -> Iterator[dict[str, Tensor]]:
    """Batches that say when they are asked for, and come once a line is there to be read."""
    for step, batch in enumerate(batches(start), start=start):
        print(f"at {step}", flush=True)
        sys.stdin.readline()
        yield batch


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))  # sums of another number of threads round otherwise
    try:
        train(Path(sys.argv[1]), led_batches, replace(SETTINGS, save_every=1000))
    except Interrupted as stop:
        print(stop, flush=True)
        sys.exit(stop.exit_code)
