"""What the logits of a network mean: which of them is asked for, how it is calibrated, where it is cut."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vasomim.errors import CheckpointError, MisuseError
from vasomim.ops.hysteresis import Cut
from vasomim.types import FloatImage

_EXTREME = 1e-7
"""Probabilities nearer to 0 or 1 have no logit in float32."""


@dataclass(frozen=True, slots=True)
class Output:
    """One of a network's logits: sigmoid(scale * logit + shift) is a probability."""

    name: str = "main"
    channel: int = 0
    threshold: float = 0.5
    scale: float = 1.0
    shift: float = 0.0
    high_threshold: float = 0.0
    """See `ops.hysteresis.Cut`."""

    def described(self) -> dict[str, Any]:
        """As an entry of `outputs` in config.json."""
        known = dataclasses.asdict(self)
        del known["channel"]  # its place in the list
        return known

    @property
    def cut(self) -> Cut:
        """From calibrated probability to mask."""
        return Cut(self.threshold, self.high_threshold)

    def calibrated(self, probability: FloatImage) -> FloatImage:
        """Probability by the sigmoid of the bare logit -> calibrated probability, the same shape."""
        if (self.scale, self.shift) == (1.0, 0.0):
            return probability
        safe = np.clip(probability, _EXTREME, 1 - _EXTREME)
        logit = np.log(safe / (1 - safe))
        return np.asarray(1 / (1 + np.exp(-(self.scale * logit + self.shift))), np.float32)


def choose_output(config: Mapping[str, Any], name: str | None = None) -> Output:
    """The output that is asked for, else the first one.

    Args:
        config: config.json of the weights: `outputs`, a list of what `Output` holds but the channel,
            or `threshold` alone.
        name: of the output.

    Raises:
        MisuseError: there is none of this name.
        CheckpointError: the config is damaged.
    """
    listed = config.get("outputs") or [{"name": "main", "threshold": config.get("threshold", 0.5)}]
    try:
        known = {str(item["name"]): Output(channel=channel, **item) for channel, item in enumerate(listed)}
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"the weights' config.json has outputs that cannot be understood: {listed!r}") from error
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0) or list(known)
        raise MisuseError(f"these weights have no output {name!r}; there is {' and '.join(known)}, nearest {near[0]}")
    return known[name]
