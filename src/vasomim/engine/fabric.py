"""Where a run computes, in which precision and on how many devices; lightning-fabric is known to this floor only."""

from __future__ import annotations

import logging
import threading
import warnings
from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.strategy import Strategy

from vasomim.engine.processes import started_processes
from vasomim.engine.sharding import shard
from vasomim.errors import MisuseError
from vasomim.ops.allocator import keep_freed_memory
from vasomim.ops.devices import resolve_device, resolve_precision

__all__ = ["Fabric", "StrategyName", "build_fabric"]

StrategyName = Literal["auto", "ddp", "fsdp"]

TIMEOUT = timedelta(minutes=10)
"""Longest wait of one process for the others within a step: a slow disk takes minutes, a lost machine for ever."""

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def build_fabric(
    device: str = "auto",
    precision: str = "auto",
    devices: int = 0,
    strategy: StrategyName = "auto",
    timeout: timedelta = TIMEOUT,
) -> Fabric:
    """One or more devices in one precision, with a process for each; this process is one of them.

    Processes that torchrun or SLURM started are found. Without either, `devices` above 1 starts the same command again
    for each further device of this machine.

    Args:
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `bf16` (autocast, weights stay float32) or `fp16` (the same, with loss scaling).
        devices: devices of each machine; 0 takes what torchrun or SLURM says, and else one.
        strategy: how several share the work: `ddp` (every process holds all weights), `fsdp` (each holds its part of
            weights, gradients and moments), or `auto`, which is `ddp`.
        timeout: longest wait of one process for the others.

    Raises:
        MisuseError: unknown device or precision, more CUDA devices than there are, fp16 on a CPU or with fsdp, another
            number of devices than torchrun or SLURM started.
    """
    each, machines = started_processes(devices)
    chosen = resolve_device(device)
    kind = resolve_precision(precision, chosen)
    if chosen.type == "cpu":
        keep_freed_memory()
    if each * machines > 1:
        _check_several(device, chosen, kind, each, strategy)
    # Fabric speaks of ranks and backends on stderr, which belongs to the progress of the run.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator="cuda" if chosen.type == "cuda" else "cpu",
        devices=[chosen.index or 0] if chosen.type == "cuda" and each == 1 else each,
        num_nodes=machines,
        strategy=_strategy(strategy, each * machines, timeout),
        precision=_PRECISIONS[kind],  # type: ignore[arg-type]
    )
    fabric.launch()
    _leave_time_to_speak()
    return fabric


def _check_several(device: str, chosen: torch.device, precision: str, each: int, strategy: str) -> None:
    """Whether `each` devices of this machine can work together so.

    Raises:
        MisuseError: they cannot.
    """
    if ":" in device:
        raise MisuseError(f"got device={device} for {each} processes, need a kind; take --device cuda or --device cpu")
    if chosen.type == "cuda" and each > torch.cuda.device_count():
        raise MisuseError(f"got devices={each}, but this machine offers {torch.cuda.device_count()} CUDA device(s)")
    if strategy == "fsdp" and precision == "fp16":
        raise MisuseError("got strategy=fsdp with precision=fp16, need bf16 or fp32; its loss is not scaled")


def _leave_time_to_speak() -> None:
    """Let this process say that it lost another one: Fabric, where it started that one, kills it within 5 s for it."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._sleep_period = 30  # type: ignore[attr-defined]


def _strategy(name: StrategyName, processes: int, timeout: timedelta) -> Strategy | str:
    if processes == 1:
        return "auto"  # nothing to share
    if name == "fsdp":
        return ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1, timeout=timeout)
    # Of dimensions of length 1, whose strides mean nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return DDPStrategy(timeout=timeout, gradient_as_bucket_view=True)
