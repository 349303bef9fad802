"""What every process of a run has, brought together; a single process gets back what it gave."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def process_rank() -> int:
    """Number of this process, 0 where there is one."""
    return dist.get_rank() if _several() else 0


def gather_rows(x: Tensor) -> Tensor:
    """Rows of all processes in their order, without gradient: (B, D) -> (processes * B, D)."""
    if not _several():
        return x.detach()
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def sum_over_processes(x: Tensor) -> Tensor:
    """`x`, summed in place over all processes; does not wait for a CUDA device."""
    if _several():
        dist.all_reduce(x)  # Fabric's own would put a barrier before it
    return x


def mean_over_processes(x: Tensor) -> Tensor:
    """Mean of a tensor over all processes, without gradient."""
    return sum_over_processes(x.detach().clone()) / dist.get_world_size() if _several() else x.detach()
