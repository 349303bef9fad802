"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """A second set of the trainable weights that follows the first slowly.

    Buffers are used as they stand: BatchNorm's running statistics are averages already, but of what the weights
    themselves gave and not their average, which lags behind; the two agree as far as the weights have settled. The
    decay grows as min(decay, (1 + n) / (10 + n)) with the number of updates n; a short run would else keep its random
    start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin the average at the weights `model` has now, on their device.

        Raises:
            ValueError: `decay` is not in [0, 1).
        """
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of the weight average must lie in [0, 1), got {decay}")
        self.decay = decay
        self.num_updates = 0
        self.weights = {name: weight.detach().clone() for name, weight in _trainable(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        current = dict(_trainable(model))
        torch._foreach_lerp_(list(self.weights.values()), [current[name] for name in self.weights], 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the trainable weights of `model` with the average."""
        for name, weight in _trainable(model):
            weight.copy_(self.weights[name])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """`model` has the averaged weights inside the block and its own ones, to the bit, after it."""
        own = {name: weight.detach().clone() for name, weight in _trainable(model)}
        self.copy_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in _trainable(model):
                    weight.copy_(own[name])

    def state_dict(self) -> dict[str, Any]:
        """Averaged weights by name and the number of updates."""
        return {"weights": self.weights, "num_updates": self.num_updates}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            KeyError: a weight is missing in `state`.
        """
        for name, weight in self.weights.items():
            weight.copy_(state["weights"][name])
        self.num_updates = state["num_updates"]


def _trainable(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
