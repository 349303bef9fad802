"""Multi-scale ridge filters: Sato's tubeness and Frangi's vesselness, float32.

Both take the best response over the scales, so that the order of `sigmas` cannot matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from vasomim.ops.hessian import check_image, derivative_kernel, eigenvalues, hessian, largest_curvature
from vasomim.types import FloatImage

if TYPE_CHECKING:
    from torch import Tensor

Filter = Literal["sato", "frangi"]

DEFAULT_SIGMAS = (1.0, 2.0, 3.0, 4.0)
_ROWS = 64
"""Rows whose curvature is computed together, so that they stay in the processor's cache."""
_TRUNCATE = 8.0
"""Where the kernels of `sato_at` end, in sigmas."""


def _centred(image: npt.NDArray[Any], black_ridges: bool) -> FloatImage:
    """Float image around zero with dark ridges: a constant becomes exactly 0, so that filters answer exactly 0."""
    check_image(image)
    centre = float(image.min()) * 0.5 + float(image.max()) * 0.5
    centred = np.empty(image.shape, np.float32)
    # In double precision block by block, as ufuncs do, without a copy of the frame in doubles.
    first, second = (image, centre) if black_ridges else (centre, image)
    np.subtract(first, second, out=centred, dtype=np.float64, casting="same_kind")
    return centred


def _checked(sigmas: Sequence[float]) -> tuple[float, ...]:
    scales = tuple(float(sigma) for sigma in sigmas)
    if not scales or not all(0 < sigma < np.inf for sigma in scales):
        raise ValueError(f"sigmas must hold at least one positive number, got {tuple(sigmas)}")
    return scales


def sato(image: npt.NDArray[Any], sigmas: Sequence[float] = DEFAULT_SIGMAS, black_ridges: bool = True) -> FloatImage:
    """Sato's tubeness: the largest positive second derivative across a ridge, best over the scales.

    Sato et al., Medical Image Analysis 2(2), 1998, eq. 9 and 22 for two dimensions:
    max over sigma of max(0, sigma^2 lambda_max).

    Args:
        image: (H, W), any number type and range.
        sigmas: standard deviations in pixels, in any order.
        black_ridges: look for dark ridges on bright ground (vessels with contrast agent), else for bright ones.

    Returns:
        (H, W) float32, >= 0, in units of the image's intensities.

    Raises:
        ValueError: if the image is empty, not two-dimensional or not finite, or a sigma is not positive.
    """
    scales = _checked(sigmas)
    centred = _centred(image, black_ridges)
    best = np.zeros_like(centred)
    room = (np.empty_like(centred), np.empty_like(centred), np.empty_like(centred))
    for sigma in scales:
        derivatives = hessian(centred, sigma, out=room)
        for top in range(0, len(best), _ROWS):
            rows = slice(top, top + _ROWS)
            np.maximum(best[rows], largest_curvature(*(part[rows] for part in derivatives)), out=best[rows])
    return best


def frangi(
    image: npt.NDArray[Any],
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    black_ridges: bool = True,
    beta: float = 0.5,
    c: float | None = None,
) -> FloatImage:
    """Frangi's vesselness in two dimensions, best over the scales.

    Frangi et al., MICCAI 1998, eq. 15: exp(-R_B^2 / 2 beta^2) (1 - exp(-S^2 / 2 c^2)) where the eigenvalue of larger
    magnitude is positive (dark ridge), else 0; R_B = lambda_1 / lambda_2, S^2 = lambda_1^2 + lambda_2^2.

    Args:
        image: (H, W), any number type and range.
        sigmas: standard deviations in pixels, in any order.
        black_ridges: look for dark ridges on bright ground, else for bright ones.
        beta: tolerance to blobs, > 0.
        c: structureness that counts as strong, > 0, in units of the image's intensities; None takes half the largest
            Hessian norm over *all* scales (the paper's advice, and what makes the result independent of contrast).

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        ValueError: if the image is empty, not two-dimensional or not finite, or a parameter is not positive.
    """
    scales = _checked(sigmas)
    if not beta > 0 or (c is not None and not c > 0):
        raise ValueError(f"beta and c must be positive, got beta={beta}, c={c}")
    centred = _centred(image, black_ridges)
    pairs = [eigenvalues(*hessian(centred, sigma)) for sigma in scales]
    norms = [high * high + low * low for high, low in pairs]
    strong = c if c is not None else 0.5 * float(np.sqrt(max(norm.max() for norm in norms)))
    best = np.zeros_like(centred)
    if strong == 0:
        return best
    for (high, low), norm in zip(pairs, norms, strict=True):
        # |high| >= |low| with high > 0 is "the larger magnitude is positive"; elsewhere the answer is 0.
        dark = (high > 0) & (high >= -low)
        blob = np.divide(low, high, out=np.zeros_like(low), where=dark)
        response = np.exp(blob * blob / np.float32(-2 * beta**2)) * -np.expm1(norm / np.float32(-2 * strong**2))
        np.maximum(best, np.where(dark, response, np.float32(0)), out=best)
    return best


@overload
def vesselness(
    image: npt.NDArray[Any], sigmas: Sequence[float] = ..., method: Filter = ..., black_ridges: bool = ...
) -> FloatImage: ...


@overload
def vesselness(
    image: Tensor, sigmas: Sequence[float] = ..., method: Filter = ..., black_ridges: bool = ...
) -> Tensor: ...


def vesselness(
    image: npt.NDArray[Any] | Tensor,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    method: Filter = "sato",
    black_ridges: bool = True,
) -> FloatImage | Tensor:
    """Ridge response of a frame, or of a batch of frames on their device, each for itself: float32, >= 0.

    Args:
        image: array (H, W), or tensor (H, W), (B, H, W) or (B, 1, H, W); any number type and range.
        sigmas: standard deviations in pixels, in any order.
        method: `sato` answers in units of the image's intensities, `frangi` in [0, 1].
        black_ridges: look for dark ridges on bright ground, else for bright ones.

    Returns:
        As many dimensions as `image` has; of a tensor a tensor on its device.

    Raises:
        ValueError: if `method` is unknown, or as `sato` and `frangi` do.
    """
    filters = {"sato": sato, "frangi": frangi}
    if method not in filters:
        raise ValueError(f"method must be one of {sorted(filters)}, got {method!r}")
    if not isinstance(image, np.ndarray) and hasattr(image, "requires_grad"):  # a tensor, asked without loading torch
        return _of_tensor(image, _checked(sigmas), method, black_ridges)
    return filters[method](np.asarray(image), sigmas=sigmas, black_ridges=black_ridges)


def _of_tensor(frames: Tensor, scales: tuple[float, ...], method: Filter, black_ridges: bool) -> Tensor:
    from vasomim.ops import ridge_tensors  # loads torch

    ridge_tensors.check_frames(frames)
    batch = frames.reshape(-1, *frames.shape[-2:])
    ridge_filter = ridge_tensors.sato if method == "sato" else ridge_tensors.frangi
    return ridge_filter(batch, scales, black_ridges=black_ridges).reshape(frames.shape)


def sato_at(
    image: npt.NDArray[Any],
    points: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
) -> npt.NDArray[np.float64]:
    """Sato's tubeness of dark ridges at a few pixels in double precision: rows (N,), columns (N,) -> (N,) float64.

    Slow per pixel and exact to about 1e-11 of the image's range: for deciding what float32 leaves open.

    Raises:
        ValueError: if the image is empty, not two-dimensional or not finite, or a sigma is not positive.
    """
    check_image(image)
    scales = _checked(sigmas)
    rows, columns = points
    best = np.zeros(len(rows))
    for sigma in scales:
        smooth, slope, curve = (derivative_kernel(sigma, order, _TRUNCATE) for order in (0, 1, 2))
        radius = len(smooth) // 2
        offsets = np.arange(-radius, radius + 1)
        y = _mirror(rows[:, None] + offsets, image.shape[0])
        x = _mirror(columns[:, None] + offsets, image.shape[1])
        patches = image[y[:, :, None], x[:, None, :]].astype(np.float64)
        along = patches @ np.stack([smooth, slope, curve], axis=1)
        yy, xy, xx = (np.einsum("nk,k->n", along[:, :, i], k) for i, k in enumerate((curve, slope, smooth)))
        high = (yy + xx) / 2 + np.hypot((yy - xx) / 2, xy)
        np.maximum(best, sigma**2 * high, out=best)
    return best


def _mirror(index: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    """Indices folded back into 0 .. size - 1 with the edge pixel repeated (OpenCV's BORDER_REFLECT)."""
    folded = index % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)
