"""Vascular anatomy: a binary vessel map from one grey frame by classical filters, no label needed.

`reference` repeats the recipe of the published VasoMIM code (Huang et al., AAAI 2026) to the bit and has seen no label.
`default` is ours: its few weights and thresholds were fitted, once, to synthetic frames and annotated ones of ARCADE;
its last step was chosen on three annotated sources (benchmarks/fit_extraction.py; docs/extraction.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple, overload

import cv2
import numpy as np
import numpy.typing as npt

from vasomim.ops.components import component_at
from vasomim.ops.field_of_view import field_of_view, shrink
from vasomim.ops.full_scale import as_share, full_scale
from vasomim.ops.hessian import check_image, eigenvalues, hessian
from vasomim.ops.oriented import along_ridges
from vasomim.ops.vesselness import sato, sato_at
from vasomim.types import BoolImage, FloatImage

Method = Literal["default", "reference"]
Extracted = tuple[BoolImage, FloatImage]
"""Mask and vesselness of a frame, each (H, W)."""
Terms = tuple[list[FloatImage], BoolImage]
"""See `anatomy_terms`."""

# Part of the key of cached masks: raise it whenever a method's output changes.
METHOD_VERSION = 5

# The published recipe.
REFERENCE_SIGMAS = (1.0, 2.0, 3.0, 4.0)
REFERENCE_BORDER = 20
REFERENCE_PERCENTILE = 92.0
# float32 answers lie within 2e-5 of the exact ones on 8-bit frames; farther than this from an integer the cast is safe.
REFERENCE_TOLERANCE = 2e-4

# Ours. Lengths are pixels of a frame whose longer side is WORKING_SIDE.
WORKING_SIDE = 300
MIN_SIDE = 8
FIELD_MARGIN = 7
LOG_FLOOR = 0.04
HOLE = 60
CUT = 4.0
"""Kernels end at this many standard deviations."""
TERMS = ("fine", "middle", "far", "near", "dark", "blob", "off_centre", "contrast")


@dataclass(frozen=True)
class AnatomySettings:
    """How `default` weighs and cuts; one setting for every source."""

    weights: tuple[float, ...]
    """One a term, in the order of TERMS."""
    threshold: float
    """Score above which a pixel is vessel, the same for all frames."""
    blend: float
    """Share of the frame's own quantile in the threshold, 0-1."""
    quantile: float
    """Which quantile of the score inside the field of view that is."""
    min_share: float
    """Smallest weight of a component, as a share of the heaviest."""


# Fitted to labels by benchmarks/fit_extraction.py; docs/extraction.md says on which frames and what was set after it.
SETTINGS = AnatomySettings(
    weights=(2.35, 0.53, 1.08, 0.98, 3.04, -9.26, -13.93, 2.37),
    threshold=-12.19,
    blend=0.5,
    quantile=0.945,
    min_share=0.06,
)


def _unit(image: npt.NDArray[Any]) -> FloatImage:
    """Any frame as float32 in [0, 1]: 8 bits by 255, wider integers by their bits in use, floats lie there already."""
    check_image(image)
    low, high = float(image.min()), float(image.max())
    if image.dtype == np.uint8:
        return np.asarray(image / np.float32(255), np.float32)
    if image.dtype.kind in "ui" and low >= 0 and high <= 65535:
        return as_share(image, full_scale(image))
    if low < 0 or high > 1:
        raise ValueError(
            f"image of {image.dtype} spans {low:g} to {high:g}; integers must lie in 0-65535 and floats in [0, 1]:"
            " divide by the white level"
        )
    return image.astype(np.float32)


def _to_uint8(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Any frame as 8 bits; 8-bit frames, and 8-bit frames divided by 255, pass unchanged."""
    if image.dtype == np.uint8:
        check_image(image)
        return image
    return np.rint(_unit(image) * 255).astype(np.uint8)


def _truncated(image: npt.NDArray[np.uint8], tubeness: FloatImage) -> npt.NDArray[np.uint8]:
    """Sato's tubeness cut to integers, as float64 arithmetic would cut it, with a zeroed border: (H, W) uint8."""
    border = REFERENCE_BORDER
    response = np.zeros(image.shape, np.float32)
    if min(image.shape) <= 2 * border:
        return response.astype(np.uint8)
    inner = (slice(border, -border), slice(border, -border))
    response[inner] = tubeness[inner]
    nearest = np.rint(response)
    # Below 1 the cast gives 0 on both sides of 0, and no other integer is near.
    open_ = (np.abs(response - nearest) < REFERENCE_TOLERANCE) & (nearest >= 1)
    rows, columns = np.nonzero(open_)
    out = response.astype(np.uint8)
    out[rows, columns] = sato_at(image, (rows, columns), REFERENCE_SIGMAS).astype(np.uint8)
    return out


def _reference(image: npt.NDArray[Any]) -> Extracted:
    frame = _to_uint8(image)
    return _reference_of(frame, sato(frame, REFERENCE_SIGMAS))


def _reference_of(frame: npt.NDArray[np.uint8], tubeness: FloatImage) -> Extracted:
    """Sato cut to 8 bits, border zeroed, 92nd percentile, the 4-connected component of the first brightest pixel."""
    response = _truncated(frame, tubeness)
    kept = (response >= np.percentile(response, REFERENCE_PERCENTILE)) & (response > 0)
    brightest = np.unravel_index(int(np.argmax(response)), response.shape)
    mask = component_at(kept, (int(brightest[0]), int(brightest[1])), connectivity=4)
    return mask, response.astype(np.float32) / np.float32(255)


class Prepared(NamedTuple):
    """A frame at the working size (h, w): its logarithm, filled outside the field of view, and where to trust it."""

    logs: FloatImage
    field: BoolImage

    @property
    def small(self) -> FloatImage:
        """`logs` at half the size."""
        return _reduce(self.logs, 2)


class RidgeResponses(NamedTuple):
    """Of a prepared frame, arrays (h, w), or of a batch, tensors (B, h, w): ridge responses averaged along over 8, 12
    and 28 pixels (the last at half the size), and the curvatures across and along."""

    fine: Any
    middle: Any
    far: Any
    across: Any
    lengthwise: Any


def anatomy_terms(image: npt.NDArray[Any]) -> Terms:
    """What `default` weighs, at its working size: a map (h, w) float32 for each of TERMS, and the field of view (h, w).

    Everything is taken from the log frame (Beer-Lambert: contrast then hardly depends on the background), ridges in
    units of the frame's own strong ridges. `fine`, `middle` and `far` are ridge responses averaged along their
    direction over 8, 12 and 28 pixels either way; `near` says how much of that lies around (a tree has company,
    speckle has none); `dark` how much darker than its surroundings a pixel is; `blob` how much it curves along the
    ridge too; `off_centre` is the squared distance from the middle (catheters, blades and ribs live near the border);
    `contrast` how strong the frame's ridges are.

    Raises:
        ValueError: if the image is empty, not two-dimensional, not finite or out of range.
    """
    prepared = _prepare(_unit(image))
    return _weighable(prepared, _ridge_responses(hessian, eigenvalues, along_ridges, prepared.logs, prepared.small))


def _prepare(frame: FloatImage) -> Prepared:
    frame = _working_size(frame)
    inside = field_of_view(frame)
    logs = np.log(frame + np.float32(LOG_FLOOR))
    return Prepared(logs if inside.all() else _fill(logs, inside), shrink(inside, FIELD_MARGIN))


def _ridge_responses(
    hessian: Callable[..., Any],
    eigenvalues: Callable[..., Any],
    along_ridges: Callable[..., Any],
    logs: Any,
    small: Any,
) -> RidgeResponses:
    """All ridge filtering of `default`, by the functions for arrays (h, w) or by those for tensors (B, h, w)."""
    thin, thick = hessian(logs, 2.0, CUT), hessian(logs, 3.2, CUT)
    across, lengthwise = eigenvalues(*thick)
    return RidgeResponses(
        fine=along_ridges(*thin, half_length=8, steps=2),
        middle=along_ridges(*thick, half_length=12, steps=2),
        far=along_ridges(*hessian(small, 1.8, CUT), half_length=14, steps=4),
        across=across,
        lengthwise=lengthwise,
    )


def _weighable(prepared: Prepared, ridges: RidgeResponses) -> Terms:
    """The terms in the order of TERMS, and the field."""
    logs, field = prepared
    strong = float(np.quantile(ridges.across[field][::3], 0.98)) if field.any() else 0.0
    unit = np.float32(max(0.0, strong) + 0.01)
    widths = (ridges.fine, ridges.middle, _enlarge(ridges.far, logs.shape))
    terms = [
        *(np.log(ridge / unit + np.float32(0.03)) for ridge in widths),
        _near(np.minimum(ridges.middle / unit, 1) * field, 5, 2),
        (_enlarge(_blur(logs, 7, 2), logs.shape) - cv2.GaussianBlur(logs, (0, 0), 1.0)) / unit,
        np.maximum(ridges.lengthwise, 0) / unit,
        _off_centre(logs.shape),
        np.full(logs.shape, np.log(unit), np.float32),
    ]
    return terms, field


def _working_size(frame: FloatImage) -> FloatImage:
    """The frame with its longer side brought to WORKING_SIDE: vessel widths follow the field, not the pixel grid."""
    scale = WORKING_SIDE / max(frame.shape)
    width, height = (max(MIN_SIDE, round(side * scale)) for side in frame.shape[::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (width, height), interpolation=how), np.float32)


def _fill(logs: FloatImage, inside: BoolImage) -> FloatImage:
    """Replace what lies outside the field of view by the local mean of what lies inside, so that no edge is seen."""
    weight = inside.astype(np.float32)
    mean = _blur(logs * weight, 12, 4) / (_blur(weight, 12, 4) + np.float32(1e-3))
    return np.where(inside, logs, _enlarge(mean, logs.shape))


def _near(share: FloatImage, sigma: float, step: int) -> FloatImage:
    return _enlarge(np.log(_blur(share, sigma, step) + np.float32(0.01)), share.shape)


def _off_centre(shape: tuple[int, ...]) -> FloatImage:
    """Squared distance from the middle in units of the sides: 0 there, 0.5 in the corners."""
    y, x = (((np.arange(n, dtype=np.float32) + 0.5) / n - 0.5) ** 2 for n in shape)
    return np.asarray(y[:, None] + x[None], np.float32)


def _reduce(image: FloatImage, step: int) -> FloatImage:
    size = (max(1, image.shape[1] // step), max(1, image.shape[0] // step))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _enlarge(image: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _blur(image: FloatImage, sigma: float, step: int) -> FloatImage:
    """Gaussian blur of `sigma` pixels, computed and returned on every `step`-th pixel."""
    low = cv2.GaussianBlur(_reduce(image, step), (0, 0), sigma / step, borderType=cv2.BORDER_REFLECT)
    return np.asarray(low, np.float32)


def anatomy_score(terms: Sequence[FloatImage], field: BoolImage, settings: AnatomySettings) -> FloatImage:
    """Score of being vessel, above 0 in the kept trees: terms T times (h, w), field (h, w) -> (h, w) float32.

    A component is kept if it weighs (sum of scores) at least `min_share` of the heaviest one.
    """
    if not field.any():
        return np.full(field.shape, -1, np.float32)
    score = np.zeros(field.shape, np.float32)
    for weight, term in zip(settings.weights, terms, strict=True):  # a BLAS call would start threads
        cv2.scaleAdd(term, weight, score, score)
    rank = int(settings.quantile * np.count_nonzero(field))
    own = float(np.partition(score[field], rank)[rank])
    score -= np.float32((1 - settings.blend) * settings.threshold + settings.blend * own)
    score[~field] = np.minimum(score[~field], -1)
    return _keep_heavy(score, settings.min_share)


def _keep_heavy(score: FloatImage, min_share: float) -> FloatImage:
    above = score > 0
    _, labels = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    weight = np.bincount(labels[above], weights=score[above], minlength=int(labels.max()) + 1)
    light = weight < min_share * weight.max()
    light[0] = False
    return np.where(light[labels], np.float32(-1), score)


def _default(image: npt.NDArray[Any]) -> Extracted:
    frame = _unit(image)
    return _nothing(frame) if frame.min() == frame.max() else _default_of(frame, *anatomy_terms(frame))


def _nothing(frame: FloatImage) -> Extracted:
    return np.zeros(frame.shape, np.bool_), np.zeros(frame.shape, np.float32)


def _default_of(frame: FloatImage, terms: Sequence[FloatImage], field: BoolImage) -> Extracted:
    """A weighted sum of log ridge responses and their surroundings, a threshold, the heavy components."""
    score = _enlarge(anatomy_score(terms, field, SETTINGS), frame.shape)
    return _fill_holes(_smooth(score > 0)), np.asarray(1 / (1 + np.exp(-score)), np.float32)


def _smooth(mask: BoolImage) -> BoolImage:
    """Majority over about a hundredth of the frame: takes off the burrs that would be branches of a centreline."""
    side = 2 * round((max(mask.shape) / 100 - 1) / 2) + 1
    return np.asarray(cv2.medianBlur(mask.view(np.uint8), side) > 0) if side > 1 else mask


def _fill_holes(mask: BoolImage) -> BoolImage:
    """Close holes below HOLE pixels of the working size, each of which would be a loop of the centreline."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < HOLE * (max(mask.shape) / WORKING_SIDE) ** 2
    small[0] = False
    return mask | np.asarray(small[labels], np.bool_)


_METHODS: dict[str, Callable[[npt.NDArray[Any]], Extracted]] = {
    "default": _default,
    "reference": _reference,
}


@overload
def extract_vessels(
    image: npt.NDArray[Any], method: Method = ..., return_vesselness: Literal[False] = ...
) -> BoolImage: ...


@overload
def extract_vessels(
    image: npt.NDArray[Any], method: Method = ..., *, return_vesselness: Literal[True]
) -> tuple[BoolImage, FloatImage]: ...


def extract_vessels(
    image: npt.NDArray[Any], method: Method = "default", return_vesselness: bool = False
) -> BoolImage | tuple[BoolImage, FloatImage]:
    """The vascular anatomy B of one grey frame with dark vessels: (H, W) -> bool (H, W), without any label.

    Args:
        image: (H, W) grey frame: integers over 8 bits or, where wider, over the bits in use, or floats
            in [0, 1].
        method: `default` (ours) or `reference` (the published recipe: Sato at sigmas 1-4 on the 8-bit frame, cut to
            8 bits, 20 px border zeroed, 92nd percentile, the component of the brightest pixel).
        return_vesselness: also return the ridge response the mask was cut from, float32 (H, W) in [0, 1].

    Raises:
        ValueError: if the image is empty, not two-dimensional, not finite or out of range, or `method` is unknown.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}, got {method!r}")
    mask, vesselness = _METHODS[method](np.asarray(image))
    return (mask, vesselness) if return_vesselness else mask


def extract_vessels_on(
    device: str, images: Sequence[npt.NDArray[Any]], method: Method = "default", each: Callable[..., Any] = map
) -> list[Extracted]:
    """`extract_vessels` of several frames, their ridges filtered together on a device: mask and vesselness of each.

    `reference` gives the same bits. `default` gives the same but for the rounding of its filters, which may move a
    pixel that lies on the threshold; a test says how many.

    Args:
        device: as torch names it.
        images: frames of any sizes; those of one size that follow each other are computed together.
        method: as for `extract_vessels`.
        each: maps over frames what is not done on the device; that of a thread pool uses several cores.

    Raises:
        ValueError: as `extract_vessels`; one bad frame stops all.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {sorted(_METHODS)}, got {method!r}")
    together = _default_on if method == "default" else _reference_on
    return [found for _, same in groupby(images, np.shape) for found in together(device, list(same), each)]


def _reference_on(device: str, images: Sequence[npt.NDArray[Any]], each: Callable[..., Any]) -> list[Extracted]:
    from vasomim.ops import ridge_tensors  # loads torch

    frames = list(each(_to_uint8, images))
    tubeness = ridge_tensors.sato(ridge_tensors.stacked(frames, device), REFERENCE_SIGMAS, black_ridges=True)
    return list(each(_reference_of, frames, tubeness.cpu().numpy()))


def _default_on(device: str, images: Sequence[npt.NDArray[Any]], each: Callable[..., Any]) -> list[Extracted]:
    from vasomim.ops import ridge_tensors as tensors  # loads torch

    frames = list(each(_unit, images))
    prepared = list(each(_prepare, frames))
    logs, small = (tensors.stacked(maps, device) for maps in zip(*((p.logs, p.small) for p in prepared), strict=True))
    found = _ridge_responses(tensors.hessian, tensors.eigenvalues, tensors.along_ridges, logs, small)
    return list(each(_default_from, frames, prepared, *(part.cpu().numpy() for part in found)))


def _default_from(frame: FloatImage, prepared: Prepared, *ridges: FloatImage) -> Extracted:
    if frame.min() == frame.max():
        return _nothing(frame)
    return _default_of(frame, *_weighable(prepared, RidgeResponses(*ridges)))
