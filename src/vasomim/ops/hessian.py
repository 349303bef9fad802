"""Scale-normalised Hessians of an image by separable Gaussian derivatives, and their eigenvalues.

Letters: H, W height and width of the image.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.types import FloatImage

Kernel = npt.NDArray[np.float64]
Derivatives = tuple[FloatImage, FloatImage, FloatImage]
"""Second derivatives I_yy, I_xy, I_xx, each (H, W)."""


def check_image(image: npt.NDArray[Any]) -> None:
    """Refuse what no filter here can work on.

    Raises:
        ValueError: if `image` is not a non-empty, finite, two-dimensional array of numbers.
    """
    if image.ndim != 2:
        raise ValueError(f"image has shape {image.shape}; a grey frame (H, W) is needed: take one channel or one frame")
    if image.size == 0:
        raise ValueError(f"image is empty (shape {image.shape}); a grey frame (H, W) is needed")
    if image.dtype.kind not in "buif":
        raise ValueError(f"image has dtype {image.dtype}; integers or floats are needed")
    # The extremes carry every NaN and infinity, and need no memory.
    if image.dtype.kind == "f" and not np.isfinite((image.min(), image.max())).all():
        raise ValueError("image holds NaN or infinite values; replace them before filtering")


@lru_cache(maxsize=256)
def derivative_kernel(sigma: float, order: int, truncate: float = 6.0) -> Kernel:
    """Sampled Gaussian derivative kernel of a standard deviation in pixels: (2r + 1,) float64, read-only.

    Built as two passes of sigma / sqrt(2), each of order 0 or 1, which is better behaved at small sigma than sampling
    the second derivative, and is what scikit-image does. Correlates (does not flip): first derivatives point to
    growing coordinates.

    Args:
        sigma: standard deviation in pixels, > 0.
        order: 0 smooths, 1 and 2 derive.
        truncate: radius in standard deviations.

    Raises:
        ValueError: if `sigma` is not positive or `order` not in 0-2.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    if order not in (0, 1, 2):
        raise ValueError(f"order must be 0, 1 or 2, got {order}")
    half = sigma / np.sqrt(2.0)
    # Each half kernel reaches twice as far as its share, so that the cut falls only on the product.
    reach = int(np.ceil(truncate * sigma)) + 1
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    smooth = np.exp(-0.5 * (x / half) ** 2)
    smooth /= smooth.sum()
    slope = smooth * x / half**2
    first, second = {0: (smooth, smooth), 1: (slope, smooth), 2: (slope, slope)}[order]
    full = np.convolve(first, second)
    centre, radius = len(full) // 2, int(np.ceil(truncate * sigma))
    cut = full[centre - radius : centre + radius + 1]
    # Exactly (anti)symmetric: OpenCV then takes kernels that are twice as fast.
    kernel: Kernel = (cut + (-1) ** order * cut[::-1]) / 2
    kernel.setflags(write=False)
    return kernel


def hessian(image: FloatImage, sigma: float, truncate: float = 6.0, out: Derivatives | None = None) -> Derivatives:
    """Scale-normalised second derivatives sigma^2 (I_yy, I_xy, I_xx): (H, W) float32 -> three times (H, W) float32.

    Borders are mirrored (edge pixel repeated). The factor sigma^2 makes responses comparable across scales
    (Lindeberg, IJCV 1998, gamma = 1). Kernels are cut at `truncate` standard deviations. `out` is written over
    where it is given: fresh memory for every scale costs as much as the arithmetic on it.
    """
    smooth, slope, curve = (derivative_kernel(float(sigma), order, truncate) for order in (0, 1, 2))
    norm = float(sigma) ** 2
    yy, xy, xx = out or (None, None, None)

    def apply(row: Kernel, column: Kernel, into: FloatImage | None) -> FloatImage:
        found = cv2.sepFilter2D(image, cv2.CV_32F, row, column * norm, dst=into, borderType=cv2.BORDER_REFLECT)
        return np.asarray(found, np.float32)

    return apply(smooth, curve, yy), apply(slope, slope, xy), apply(curve, smooth, xx)


def largest_curvature(yy: FloatImage, xy: FloatImage, xx: FloatImage) -> FloatImage:
    """The larger of the `eigenvalues`, to the bit and in half the time; overwrites all three: (H, W) each -> (H, W)."""
    # Twice the eigenvalue by exact doublings, (yy + xx) + sqrt((yy - xx)^2 + (2 xy)^2), then the half of it.
    spread = yy - xx
    spread *= spread
    xy += xy
    xy *= xy
    spread += xy
    np.sqrt(spread, out=spread)
    yy += xx
    yy += spread
    yy *= np.float32(0.5)
    return yy


def eigenvalues(yy: FloatImage, xy: FloatImage, xx: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Eigenvalues (larger, smaller) of symmetric 2 x 2 matrices: three times (H, W) -> twice (H, W)."""
    mean = (yy + xx) * np.float32(0.5)
    # Not cv2.magnitude: its last bit depends on where the arrays happen to lie in memory.
    spread = (yy - xx) * np.float32(0.5)
    spread *= spread
    spread += xy * xy
    np.sqrt(spread, out=spread)
    return mean + spread, mean - spread
