"""Models with the statistics of the data, and the segmentor that guides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.input_norm import InputNorm
from vasomim.models.registry import create_model
from vasomim.models.weights import load_pretrained


def load_segmentor(path: Path | None) -> nn.Module:
    """The segmentor that `vasomim segmentor` trained.

    Raises:
        MisuseError: no path is given.
        CheckpointError: the weights are of another kind.
    """
    if path is None:
        raise MisuseError(
            "co-guidance and the consistency loss need a segmentor, got none; train one with `vasomim segmentor "
            "FRAMES --out DIR` and give --segmentor DIR, or set --masking.guidance anatomy --consistency-weight 0"
        )
    model, facts = load_pretrained(path)
    if facts.get("kind") != "segmentor":
        raise CheckpointError(
            f"{path} holds a {facts.get('kind')}, need a segmentor; make one with `vasomim segmentor`"
        )
    return model


def create_normalised(name: str, statistics: tuple[float, float], **kwargs: Any) -> nn.Module:
    """A model from random weights that normalises its input by `statistics` (mean, std)."""
    model = create_model(name, **kwargs)
    set_statistics(model, statistics)
    return model


def set_statistics(model: nn.Module, statistics: tuple[float, float]) -> None:
    """Make `model` normalise its input by `statistics` (mean, std of pixels in [0, 1])."""
    norm = model.input_norm
    assert isinstance(norm, InputNorm)
    norm.set(*statistics)
