"""What a caller hands to a predictor: frames as files or pixels, and a config; what it cannot take gets one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.data.frames import read_frame, to_unit
from vasomim.errors import MisuseError
from vasomim.types import FloatImage

if TYPE_CHECKING:
    from torch import Tensor

Frame: TypeAlias = "npt.NDArray[Any] | Tensor | Path | str"
"""A file, or pixels, in an array or a tensor on the CPU: (H, W) or RGB(A) (H, W, 3 or 4); integers, or floats in
[0, 1]. Vessels are dark."""


def as_frames(frames: Iterable[Frame]) -> list[Frame]:
    """Several frames; one alone is refused, as the letters of its name, or its rows, would be taken for frames.

    Raises:
        MisuseError: it is one frame.
    """
    if isinstance(frames, str | Path) or not isinstance(frames, Iterable):
        raise MisuseError(f"predict_batch takes several frames, got {frames!r}; give a list, or one frame to predict")
    return list(frames)


def as_image(frame: Frame) -> FloatImage:
    """Read or convert to (H, W) float32 in [0, 1].

    Raises:
        MisuseError: there is no such file, or it is neither file nor pixels on the CPU.
        DataError: it is unreadable, of another shape, holds NaN, or floats outside [0, 1].
    """
    if isinstance(frame, str | Path):
        return read_frame(frame)
    pixels = _pixels(frame)
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        exact = pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels
        pixels = cv2.cvtColor(np.ascontiguousarray(exact[..., :3]), cv2.COLOR_RGB2GRAY)
    return to_unit(pixels)


def _pixels(frame: Any) -> npt.NDArray[Any]:
    """An array as it is, the values of a tensor on the CPU; known by its methods, as torch need not be loaded."""
    if isinstance(frame, np.ndarray):
        return frame
    if not hasattr(frame, "detach"):
        raise MisuseError(
            f"got a {type(frame).__name__} for a frame; need a file, or an array or tensor (H, W) or (H, W, 3); "
            "several frames go to predict_batch"
        )
    if frame.device.type != "cpu":
        raise MisuseError(f"got a frame on {frame.device}, need it on the CPU; call .cpu() first")
    values: npt.NDArray[Any] = (frame.detach().float() if frame.is_floating_point() else frame).numpy()
    return values


def check_unit(images: npt.NDArray[Any]) -> None:
    """Frames that go to a network as they are lie in [0, 1].

    Raises:
        MisuseError: some pixel does not, or is NaN.
    """
    if images.size and not (images.min() >= 0 and images.max() <= 1):
        found = f"{images.min():.4g} to {images.max():.4g}"
        raise MisuseError(f"images hold {found}; need values in [0, 1]: divide by the full scale")


def check_places(config: Mapping[str, Any]) -> None:
    """Settings of the inference stand in their section; elsewhere nobody would read them.

    Raises:
        MisuseError: one stands beside it.
    """
    stray = {name: config[name] for name in ("mode", "size", "overlap", "flip") if name in config}
    if stray:
        raise MisuseError(f"the config has {', '.join(stray)} at its top, where nobody looks; give inference={stray}")
