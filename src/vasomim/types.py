"""Types shared by several floors. Importing this module loads neither torch nor OpenCV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

FloatImage = npt.NDArray[np.float32]
"""(H, W) float32; images lie in [0, 1]."""
BoolImage = npt.NDArray[np.bool_]
"""(H, W) bool."""


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled box in pixels of its frame: x to the right, y down, x1 and y1 exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: str = "stenosis"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a frame before its pixels are read."""

    id: str
    """Unique within its data set: the path below the set's root, POSIX style, without suffix."""
    path: Path
    patient: str | None = None
    source: str = ""
    frame: int | None = None
    """Which frame of a DICOM file, from 0; None for a picture."""
    subtract: bool = False
    """Take the frame less its mask, where its file recommends that."""
    name: str = ""
    """What messages call the file where its path may name a patient; see `shown`."""
    digest: str | None = None
    """Hash of the frame's pixels (`vasomim.data.frames.frame_hash`) where it is known without reading them."""

    @property
    def shown(self) -> str:
        """What messages call the file."""
        return self.name or str(self.path)


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame and all that is known of it; what every reader yields."""

    record: Record
    image: FloatImage
    """(H, W) float32 in [0, 1]; vessels dark."""
    mask: BoolImage | None = None
    """(H, W) annotated vessel, or None where the frame has no label."""
    vessels: BoolImage | None = None
    """(H, W) extracted vascular anatomy B, or None where none was extracted."""
    classes: npt.NDArray[np.uint8] | None = None
    """(H, W) segment class of each pixel, 0 = background (ARCADE: 1-25)."""
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """A segmented frame at its native size."""

    probability: FloatImage
    """(H, W) float32 in [0, 1]."""
    mask: BoolImage
    """(H, W) bool: probability >= meta["threshold"]; where there is a high threshold, too, of the pieces that reach it
    (`vasomim.ops.hysteresis`)."""
    meta: Mapping[str, Any] = field(default_factory=dict)


def view_key(view: int) -> str:
    """Name of a view of a frame in a batch: `image`, `view1`, `view2`, ..."""
    return f"view{view}" if view else "image"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, given to a task with every batch."""

    step: int
    """Optimiser steps done, 0 at the start."""
    total_steps: int
    epoch: int
    """Epochs completed, 0 during the first."""
    total_epochs: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a task returns for one batch."""

    loss: Tensor
    """Scalar, differentiable."""
    logs: Mapping[str, Tensor]
    """Detached scalars by name, left on their device."""

    @classmethod
    def of(cls, loss: Tensor, **terms: Tensor) -> StepOutput:
        """A loss, logged as `loss`, and what else is logged by its name; all logs are detached."""
        return cls(loss, {name: value.detach() for name, value in {"loss": loss, **terms}.items()})
