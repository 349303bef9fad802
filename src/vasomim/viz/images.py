"""Pictures of frames, masks, errors and hidden patches: arrays in, RGB arrays out.

Colours are picked to stay apart for colour-blind readers and on grey; a test simulates the two common forms.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, red first."""
Color = tuple[int, int, int]
"""Red, green, blue in 0-255."""

VESSEL_COLOR: Color = (255, 176, 0)
ERROR_COLORS: dict[str, Color] = {
    "found": (0, 200, 130),
    "false alarm": (254, 97, 0),
    "missed": (80, 130, 255),
}
"""True positive, false positive, false negative."""
_HIDDEN: Color = (112, 122, 158)  # a cold grey: neutral grey is lost among the greys of an angiogram
_PAPER = 255
_INK = 30


def to_rgb(image: npt.NDArray[Any]) -> RGB:
    """A frame as RGB: (H, W) or (H, W, 3); float in [0, 1] (clipped, NaN black), uint8, uint16 or bool.

    Raises:
        ValueError: another shape or dtype.
    """
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise ValueError(f"a picture is (H, W) or (H, W, 3), got {image.shape}")
    if image.dtype == np.uint16:
        grey = (image >> 8).astype(np.uint8)
    elif image.dtype == np.bool_:
        grey = image.astype(np.uint8) * 255
    elif np.issubdtype(image.dtype, np.floating):
        grey = (np.clip(np.nan_to_num(image, nan=0.0), 0, 1) * 255 + 0.5).astype(np.uint8)
    elif image.dtype == np.uint8:
        grey = image
    else:
        raise ValueError(f"a picture is float in [0, 1], uint8, uint16 or bool, got {image.dtype}")
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey)


def overlay(
    image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], color: Color = VESSEL_COLOR, alpha: float = 0.35
) -> RGB:
    """A frame with `mask` (H, W) filled at opacity `alpha` and outlined at nearly full opacity.

    The outline is the mask's own border, so nothing outside the mask is covered.
    """
    picture = to_rgb(image)
    _check_same_size(picture, mask)
    inside, outline = mask_parts(mask)
    return _blend(_blend(picture, inside, color, alpha), outline, color, max(alpha, 0.85))


def mask_parts(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The inner pixels of a mask (H, W) and its outermost ones, which touch the background at a side."""
    inside = cv2.erode(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0
    return inside, mask & ~inside


def error_map(
    image: npt.NDArray[Any],
    pred: npt.NDArray[np.bool_],
    target: npt.NDArray[np.bool_],
    alpha: float = 0.85,
    legend: bool = False,
) -> RGB:
    """A darkened frame with found, false and missed vessel pixels coloured as in `ERROR_COLORS`.

    Args:
        image: (H, W) frame.
        pred: (H, W) predicted vessel.
        target: (H, W) annotated vessel.
        alpha: opacity of the colours.
        legend: add a strip that names the colours below the picture.
    """
    picture = (to_rgb(image) * np.float32(0.75)).astype(np.uint8)
    _check_same_size(picture, pred)
    _check_same_size(picture, target)
    parts = (pred & target, pred & ~target, target & ~pred)
    for part, color in zip(parts, ERROR_COLORS.values(), strict=True):
        picture = _blend(picture, part, color, alpha)
    return np.concatenate([picture, _legend_strip(picture.shape[1])]) if legend else picture


def mask_overlay(
    image: npt.NDArray[Any], patch_mask: npt.NDArray[np.bool_], patch_size: int, alpha: float = 0.85
) -> RGB:
    """A frame whose hidden patches are greyed; `patch_mask` is (L,), True = hidden, row by row.

    Raises:
        ValueError: the mask does not hold one value for each patch of the frame.
    """
    picture = to_rgb(image)
    rows, columns = picture.shape[0] // patch_size, picture.shape[1] // patch_size
    if patch_mask.size != rows * columns or picture.shape[:2] != (rows * patch_size, columns * patch_size):
        raise ValueError(
            f"a {picture.shape[0]}x{picture.shape[1]} frame has {rows}x{columns} patches of {patch_size} px, "
            f"got a mask of {patch_mask.size}; give the mask of this frame, and a frame of whole patches"
        )
    hidden = patch_mask.reshape(rows, columns).repeat(patch_size, 0).repeat(patch_size, 1)
    return _blend(picture, hidden, _HIDDEN, alpha)


def heat_overlay(
    image: npt.NDArray[Any], heat: npt.NDArray[np.floating[Any]], high: float | None = None, alpha: float = 0.75
) -> RGB:
    """A frame under a map `heat` (H, W) >= 0, coloured dark to bright; where the map is 0 the frame shows.

    Args:
        image: (H, W) frame.
        heat: what to show, for example guidance, vesselness or probability.
        high: value of the brightest colour; None takes the map's maximum.
        alpha: opacity at `high`.
    """
    picture = to_rgb(image)
    _check_same_size(picture, heat)
    top = float(np.nanmax(heat)) if high is None else high
    share = np.clip(np.nan_to_num(heat / top if top > 0 else heat * 0.0), 0, 1).astype(np.float32)
    colors = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = alpha * np.sqrt(share)[..., None]
    mixed: RGB = (picture * (1 - weight) + colors * weight + 0.5).astype(np.uint8)
    return mixed


def contact_sheet(
    rows: Sequence[Sequence[RGB]],
    labels: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    tile: int = 224,
    gap: int = 4,
) -> RGB:
    """Pictures in rows and columns on white, each fitted into a square of `tile` pixels.

    Args:
        rows: pictures as `to_rgb` takes them; rows may differ in length.
        labels: one caption a row, written above it.
        columns: one heading a column.
        tile: side of a square in pixels.
        gap: white space between squares in pixels.

    Raises:
        ValueError: no picture at all, or a wrong number of labels.
    """
    if not rows or not any(rows):
        raise ValueError("a contact sheet needs at least one picture, got none")
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"one label a row: got {len(labels)} labels for {len(rows)} rows")
    width = max(map(len, rows)) * (tile + gap) + gap
    parts: list[RGB] = [_paper(gap, width)]
    if columns is not None:
        heading = _paper(22, width)
        for k, text in enumerate(columns):
            _write(heading, text, (gap + k * (tile + gap), 15), tile)
        parts.append(heading)
    for k, row in enumerate(rows):
        if labels is not None:
            caption = _paper(20, width)
            _write(caption, labels[k], (gap, 14), width - 2 * gap)
            parts.append(caption)
        parts += [_row(row, width, tile, gap), _paper(gap, width)]
    return np.concatenate(parts)


def fit_within(rgb: RGB, side: int) -> RGB:
    """The picture scaled so that its longer side is `side` pixels."""
    scale = side / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    if size == (rgb.shape[1], rgb.shape[0]):
        return rgb
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)


def png_data_uri(rgb: npt.NDArray[Any], max_side: int | None = None) -> str:
    """A `data:image/png;base64,...` address that holds the picture itself, scaled down to `max_side` if larger."""
    picture = to_rgb(rgb)
    if max_side is not None and max(picture.shape[:2]) > max_side:
        picture = fit_within(picture, max_side)
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _check_same_size(picture: RGB, other: npt.NDArray[Any]) -> None:
    if other.shape != picture.shape[:2]:
        raise ValueError(f"the map is {other.shape}, the frame is {picture.shape[:2]}; resize one to the other")


def _blend(picture: RGB, where: npt.NDArray[np.bool_], color: Color, alpha: float) -> RGB:
    out = picture.copy()
    out[where] = (picture[where] * (1 - alpha) + np.array(color) * alpha + 0.5).astype(np.uint8)
    return out


def _paper(height: int, width: int) -> RGB:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _row(row: Sequence[RGB], width: int, tile: int, gap: int) -> RGB:
    strip = _paper(tile, width)
    for k, picture in enumerate(row):
        fitted = fit_within(to_rgb(picture), tile)
        top = (tile - fitted.shape[0]) // 2
        left = gap + k * (tile + gap) + (tile - fitted.shape[1]) // 2
        strip[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return strip


def _write(picture: RGB, text: str, origin: tuple[int, int], width: int) -> None:
    """Write `text` into `picture`, shortened to `width` pixels; accents are dropped, as OpenCV draws ASCII only."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    while len(plain) > 1 and _text_width(plain) > width:
        plain = plain[:-3].rstrip(".") + ".." if len(plain) > 3 else plain[:-1]
    cv2.putText(picture, plain, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (_INK, _INK, _INK), 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0])


def _legend_strip(width: int) -> RGB:
    strip = _paper(22, width)
    left = 6
    for name, color in ERROR_COLORS.items():
        cv2.rectangle(strip, (left, 6), (left + 10, 16), color, -1)
        _write(strip, name, (left + 15, 15), width - left - 15)
        left += 15 + _text_width(name) + 14
    return strip
