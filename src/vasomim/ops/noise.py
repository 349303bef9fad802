"""Counter-based uniform noise: a pure function of (seed, epoch, index, position).

Masks drawn from it do not depend on the batch a frame falls into, on the number of workers or processes, or on where a
run was resumed; a stateful generator gives none of that. The mixing function is the SplitMix64 finaliser
(Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: successive counters land far apart
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def _signed(value: int) -> int:
    """The int64 with the bits of `value` modulo 2^64."""
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 bits; `>>` alone would copy the sign bit in."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64 finaliser on int64 bits; products wrap modulo 2^64."""
    for shift, factor in zip(_SHIFTS[:2], _FACTORS, strict=True):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, _SHIFTS[2])


def counter_uniform(seed: int, epoch: Tensor, index: Tensor, count: int) -> Tensor:
    """Uniform noise for each (epoch, index): int64 (B,), int64 (B,) -> (B, count) float32, strictly inside (0, 1).

    Row i depends on `seed`, `epoch[i]` and `index[i]` alone, and its first values do not change with `count`; integer
    arithmetic makes it the same on every device.

    Raises:
        ValueError: if `epoch` and `index` are not 1-D int64 tensors of one length.
    """
    if epoch.shape != index.shape or epoch.ndim != 1 or {epoch.dtype, index.dtype} != {torch.int64}:
        raise ValueError(
            f"epoch and index must be 1-D int64 tensors of one length, got {epoch.dtype} {tuple(epoch.shape)} "
            f"and {index.dtype} {tuple(index.shape)}"
        )
    golden = _signed(_GOLDEN)
    # One mixing round between the parts, so that no two triples (seed, epoch, index) share a stream by adding up alike.
    key = _mixed(torch.full_like(epoch, _signed(seed)) + golden)
    key = _mixed(key ^ (epoch + golden))
    key = _mixed(key ^ (index + golden))  # (B,)
    counters = torch.arange(1, count + 1, device=epoch.device, dtype=torch.int64) * golden
    bits = _shifted(_mixed(key[:, None] + counters), 41)  # (B, count), 23 bits
    # 23 bits and a half: exact in float32, never 0 (log 0) and never 1 (24 bits and a half would round up to it).
    return (bits.float() + 0.5) * 2.0**-23


def counter_normal(seed: int, epoch: Tensor, index: Tensor, count: int) -> Tensor:
    """Standard normal noise by the same rules: int64 (B,), int64 (B,) -> (B, count) float32 (Box & Muller 1958).

    Raises:
        ValueError: as `counter_uniform`.
    """
    half = -(-count // 2)
    radius, turn = counter_uniform(seed, epoch, index, 2 * half).view(-1, 2, half).unbind(1)
    radius, turn = (-2 * radius.log()).sqrt(), 2 * math.pi * turn
    return torch.cat([radius * turn.cos(), radius * turn.sin()], 1)[:, :count]
