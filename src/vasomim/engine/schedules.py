"""Learning rates as pure functions of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

Schedule = Callable[[int], float]
"""Optimiser steps done (0 at the start) -> learning rate of the next step."""


def cosine(step: int, total_steps: int, warmup_steps: int, peak: float, final: float = 0.0) -> float:
    """Linear warm-up from peak / warmup_steps to `peak`, then half a cosine down to `final`.

    Args:
        step: optimiser steps done, 0 at the start; from `total_steps` on the rate stays `final`.
        total_steps: length of the run; `final` would be reached one step after the last.
        warmup_steps: steps of the warm-up, 0 for none.
        peak: largest rate.
        final: rate at the end.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * done))


def polynomial(epoch: int, total_epochs: int, peak: float) -> float:
    """Polynomial decay peak * (1 - epoch / total_epochs) ** 0.9, with `epoch` counted from 0."""
    return float(peak * (1 - min(epoch / max(total_epochs, 1), 1.0)) ** 0.9)


def cosine_schedule(total_steps: int, warmup_steps: int, peak: float, final: float = 0.0) -> Schedule:
    """`cosine` with everything but the step given.

    Raises:
        ValueError: the warm-up is negative or longer than the run.
    """
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must lie in 0..total_steps={total_steps}, got {warmup_steps}")
    return partial(cosine, total_steps=total_steps, warmup_steps=warmup_steps, peak=peak, final=final)


def polynomial_schedule(steps_per_epoch: float, total_epochs: int, peak: float) -> Schedule:
    """`polynomial` in the epoch that a step belongs to; the rate changes only between epochs.

    Raises:
        ValueError: `steps_per_epoch` or `total_epochs` is not positive.
    """
    if steps_per_epoch <= 0 or total_epochs <= 0:
        raise ValueError(f"steps_per_epoch and total_epochs must be positive, got {steps_per_epoch} and {total_epochs}")
    return lambda step: polynomial(epoch_of(step, steps_per_epoch), total_epochs, peak)


def epoch_of(step: int, steps_per_epoch: float) -> int:
    """Epochs completed before optimiser step `step`, 0 during the first.

    `steps_per_epoch` is frames / batch and seldom whole; the small term keeps exact multiples exact.
    """
    return math.floor(step / steps_per_epoch + 1e-9)


def begun_epochs(steps: int, steps_per_epoch: float) -> int:
    """Epochs that `steps` optimiser steps begin, the last one counted whole; at least 1."""
    return max(math.ceil(steps / steps_per_epoch - 1e-9), 1)
