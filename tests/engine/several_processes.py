"""What the tests of several processes run in each of them: `python several_processes.py SCENARIO FOLDER`."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from engine_tools import SETTINGS, TinyTask, batches, train
from lightning_fabric import Fabric
from task_tools import frame_batches, pretraining, run
from torch import Tensor, nn

from vasomim.engine.fabric import build_fabric
from vasomim.errors import Interrupted, VasomimError
from vasomim.types import Progress

STRATEGIES = ("ddp", "fsdp")


def make_task() -> nn.Module:
    """The pre-training task without what is drawn by process, such as stochastic depth."""
    return pretraining(drop_path_rate=0.0)


def look(task: nn.Module, progress: Progress) -> dict[str, float]:
    """A validation that calls parts of the task, not the task."""
    images = torch.linspace(0, 1, 32 * 32).reshape(1, 1, 32, 32)
    tokens = task.mae.encoder.forward_features(task.mae.input_norm(images))
    return {"tokens": float(tokens.abs().mean()), "step": progress.step}


def compare(folder: Path) -> None:
    """Whole runs; runs that begin here, go on in the test's own process, and end here; a bad batch and a SIGTERM on
    one process."""
    fabrics = {strategy: build_fabric("cpu", "fp32", strategy=strategy) for strategy in STRATEGIES}
    share = (fabrics["ddp"].global_rank, fabrics["ddp"].world_size)
    whole = {"accumulate": 1, "ema": None, "clip_grad": None}
    run(folder / "ddp_at_once", make_task, frame_batches(share=share), fabric=fabrics["ddp"], changes=whole)
    for strategy, fabric in fabrics.items():
        run(folder / strategy, make_task, frame_batches(share=share), fabric=fabric, validate=look)
        try:
            run(folder / f"{strategy}_cut", make_task, frame_batches(share=share, stop_at=4), fabric=fabric)
        except ZeroDivisionError:
            fabric.barrier()
        no_norm = partial(TinyTask, dropout=0.0, norm=False)
        train(folder / f"{strategy}_bad", spoilt(share), SETTINGS, no_norm, fabric=fabric)
        try:
            train(folder / f"{strategy}_stopped", harmed(fabric, "term"), SETTINGS, no_norm, fabric=fabric)
        except Interrupted as error:
            print(f"{strategy} {fabric.global_rank}: {'' if error.told else error}", flush=True)
    (folder / f"began_{share[0]}").touch()
    while not (folder / "middle").exists():
        time.sleep(0.05)
    for strategy, fabric in fabrics.items():
        run(folder / f"{strategy}_cut", make_task, frame_batches(share=share), fabric=fabric, validate=look)


def spoilt(share: tuple[int, int]) -> Callable[[int], Iterator[dict[str, Tensor]]]:
    """Shares of batches, of which the last sample of batch 4 holds NaN: the last process has it."""

    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(batches(start), start=start):
            if step == 4:
                batch["x"][-1, 0] = math.nan
            yield {name: value.tensor_split(share[1])[share[0]] for name, value in batch.items()}

    return make


def die(folder: Path, strategy: str, how: str) -> None:
    """The second process comes to harm at batch 5, and the first says what becomes of it."""
    fabric = build_fabric("cpu", "fp32", strategy=strategy, timeout=timedelta(seconds=4))
    try:
        train(folder, harmed(fabric, how), SETTINGS, partial(TinyTask, norm=False), fabric=fabric)
    except VasomimError as error:
        print(f"{fabric.global_rank}: {'' if error.told else error}", flush=True)
        sys.exit(error.exit_code)


def harmed(fabric: Fabric, how: str) -> Callable[[int], Iterator[dict[str, Tensor]]]:
    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(batches(start), start=start):
            if step == 5 and fabric.global_rank == 1:
                {"term": stop, "kill": kill, "hang": hang}[how]()
            yield {name: value.tensor_split(2)[fabric.global_rank] for name, value in batch.items()}

    return make


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    scenario, *arguments = sys.argv[2:]
    {"compare": compare, "die": die}[scenario](Path(sys.argv[1]), *arguments)
