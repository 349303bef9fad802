"""Several processes that train one model: how many there are, what they agree on, and what ends them together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor

from vasomim.errors import MisuseError, TrainingError, VasomimError
from vasomim.ops.collectives import gather_rows

PATIENCE = timedelta(days=2)
"""Longest wait for what the first process does alone, such as extracting the vessels of all frames."""

E = TypeVar("E", bound=VasomimError)


def started_processes(devices: int = 0) -> tuple[int, int]:
    """Processes of each machine, and machines: as torchrun or SLURM started them, else `devices` on this one.

    Raises:
        MisuseError: `devices` is not 0 and differs from what was started, or SLURM did not say how tasks are spread.
    """
    started = _from_torchrun() or _from_slurm()
    if started is None:
        return max(devices, 1), 1
    name, each, machines = started
    if devices not in (0, each):
        raise MisuseError(f"got devices={devices}, but {name} started {each} process(es) a machine; leave devices out")
    return each, machines


def _from_torchrun() -> tuple[str, int, int] | None:
    if not TorchElasticEnvironment.detect():
        return None
    each = int(os.environ["LOCAL_WORLD_SIZE"])
    return "torchrun", each, int(os.environ["WORLD_SIZE"]) // each


def _from_slurm() -> tuple[str, int, int] | None:
    if not SLURMEnvironment.detect() or os.environ["SLURM_NTASKS"] == "1":
        return None
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise MisuseError(
            f"SLURM started {os.environ['SLURM_NTASKS']} tasks without saying how many a machine; ask for them with "
            "--nodes and --ntasks-per-node"
        )
    return "SLURM", int(os.environ["SLURM_NTASKS_PER_NODE"]), int(os.environ.get("SLURM_NNODES", 1))


def check_shares(batch_size: int, accumulate: int, processes: int) -> None:
    """Whether every process gets the same number of samples of a batch, and of each part it is computed in.

    Raises:
        MisuseError: it does not.
    """
    unit = processes * accumulate
    if batch_size % unit:
        parts = f" in accumulate={accumulate} parts" if accumulate > 1 else ""
        near = sorted({max(batch_size // unit, 1) * unit, (batch_size // unit + 1) * unit})
        raise MisuseError(
            f"batch_size={batch_size} cannot be shared by {processes} processes{parts}, need a multiple of {unit}; "
            f"take {' or '.join(map(str, near))}"
        )


@contextmanager
def first_alone(fabric: Fabric) -> Iterator[None]:
    """The first process goes through the block alone, then all others do; where it fails, they end in silence.

    Raises:
        VasomimError: the first process failed (on the others).
    """
    if fabric.world_size == 1:
        yield
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    if fabric.is_global_zero:
        status = 1
        try:
            yield
            status = 0
        except VasomimError as error:
            status = error.exit_code
            raise
        finally:
            dist.broadcast_object_list([status], src=0, group=group)
        return
    heard = [0]
    dist.broadcast_object_list(heard, src=0, group=group)
    if heard[0]:
        failure = VasomimError("the first process could not go on; it says why")
        failure.exit_code = heard[0]
        raise silenced(failure, fabric)
    yield


def silenced(error: E, fabric: Fabric) -> E:
    """`error`, which all processes raise and only the first one tells."""
    error.told = not fabric.is_global_zero
    return error


def gather_batch(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch of all processes, their shares in the order of the processes: as one process would have had it."""
    return {name: gather_rows(value) for name, value in batch.items()}


@contextmanager
def losses_of_processes(fabric: Fabric) -> Iterator[None]:
    """Turns what torch says when another process is gone into one line.

    Raises:
        TrainingError: the communication with another process broke or took too long.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo's errors have no type of their own.
        if fabric.world_size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise TrainingError(
            f"process {fabric.global_rank} of {fabric.world_size} lost another one, which ended, was killed or does "
            "not answer; see what it said last. The same command goes on from the newest checkpoint"
        ) from error
