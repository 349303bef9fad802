"""A typed cast that costs nothing where nothing is to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vasomim.types import FloatImage


def as_float(array: npt.NDArray[Any]) -> FloatImage:
    """The same values as float32 (OpenCV and NumPy lose the type on the way)."""
    return np.asarray(array, dtype=np.float32)
