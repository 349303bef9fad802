"""What this machine reaches in nothing but arithmetic and nothing but moving bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Clock = Callable[[], float]


@dataclass(frozen=True)
class Work:
    """What a task cannot do without."""

    flops: float = 0.0
    """Floating-point operations; a multiplication and an addition are two."""
    moved: float = 0.0
    """Bytes read and written."""


@dataclass(frozen=True)
class Limits:
    """Rates measured on this machine, in as many threads as everything else."""

    flops_per_s: float
    """Of a product of float32 matrices."""
    bytes_per_s: float
    """Read and written while copying more than the caches hold."""

    def seconds(self, work: Work) -> float:
        """The least time that some work takes at these rates, arithmetic and transfer side by side."""
        return max(work.flops / self.flops_per_s, work.moved / self.bytes_per_s)

    def binding(self, work: Work) -> str:
        """Which rate limits some work."""
        arithmetic = work.flops / self.flops_per_s >= work.moved / self.bytes_per_s
        return "matrix product rate" if arithmetic else "copy bandwidth"

    def best(self, other: Limits) -> Limits:
        """The higher of both rates: other load can only lower them."""
        return Limits(max(self.flops_per_s, other.flops_per_s), max(self.bytes_per_s, other.bytes_per_s))


def measure_limits(clock: Clock = time.perf_counter, size: int = 1536, megabytes: int = 256, tries: int = 5) -> Limits:
    """The best of some products of (size, size) float32 matrices, and of some copies of so many megabytes."""
    return Limits(matrix_rate(clock, size, tries), copy_rate(clock, megabytes, tries))


def matrix_rate(clock: Clock, size: int, tries: int) -> float:
    """Floating-point operations a second of a matrix product."""
    a, b = (torch.rand(size, size) for _ in range(2))
    out = torch.empty(size, size)
    return 2 * size**3 / _least(lambda: torch.mm(a, b, out=out), clock, tries)


def copy_rate(clock: Clock, megabytes: int, tries: int) -> float:
    """Bytes a second, those read and those written together."""
    source, target = (torch.ones(megabytes * 2**18) for _ in range(2))
    return 2 * source.nbytes / _least(lambda: target.copy_(source), clock, tries)


def _least(call: Callable[[], object], clock: Clock, tries: int) -> float:
    call()
    times = []
    for _ in range(tries):
        began = clock()
        call()
        times.append(clock() - began)
    return min(times)
