"""Overlays that move: GIF, which opens everywhere, and VP9 in MP4, which browsers play and which is much smaller."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from vasomim.errors import VasomimError
from vasomim.types import BoolImage, FloatImage
from vasomim.viz.images import RGB, VESSEL_COLOR, mask_parts

_GREYS, _FILLS, _OUTLINES = 128, 96, 32
"""Colours of a GIF: plain greys, greys under the filling, greys under the outline; 256 in all."""
_FILL, _OUTLINE = 0.35, 0.85
Indexed = npt.NDArray[np.uint8]
"""(H, W) uint8, indices of `gif_palette`."""


def gif_palette() -> npt.NDArray[np.uint8]:
    """(256, 3) uint8: the colours that an overlay can have, so that no frame needs a palette of its own."""
    parts = []
    for levels, alpha in ((_GREYS, 0.0), (_FILLS, _FILL), (_OUTLINES, _OUTLINE)):
        grey = np.repeat(np.linspace(0, 255, levels)[:, None], 3, axis=1)
        parts.append(grey * (1 - alpha) + np.array(VESSEL_COLOR) * alpha)
    return np.rint(np.concatenate(parts)).astype(np.uint8)


def indexed_overlay(image: FloatImage, mask: BoolImage) -> Indexed:
    """A frame in [0, 1] with its mask filled and outlined, as `overlay` draws it, in the colours of `gif_palette`."""
    inside, outline = mask_parts(mask)
    grey = np.clip(image, 0, 1)
    picture = np.rint(grey * (_GREYS - 1))
    picture[inside] = _GREYS + np.rint(grey[inside] * (_FILLS - 1))
    picture[outline] = _GREYS + _FILLS + np.rint(grey[outline] * (_OUTLINES - 1))
    return np.asarray(picture, dtype=np.uint8)


def encode_gif(pictures: Iterable[Indexed], steps_ms: Sequence[float]) -> bytes:
    """A film that starts again at its end.

    Args:
        pictures: from `indexed_overlay`, at least one, all of one size; taken one at a time.
        steps_ms: how long each is shown; a GIF counts in hundredths of a second, and rounding must not add up.
    """
    ends = np.rint(np.cumsum(steps_ms) / 10).astype(int)
    durations = [int(step) * 10 for step in np.diff(ends, prepend=0)]
    palette = gif_palette().tobytes()
    images = (_with_palette(picture, palette) for picture in pictures)
    buffer = io.BytesIO()
    next(images).save(
        buffer, "GIF", save_all=True, append_images=images, duration=durations, loop=0, optimize=False, disposal=1
    )
    return buffer.getvalue()


def _with_palette(picture: Indexed, palette: bytes) -> Image.Image:
    image = Image.fromarray(picture, "P")
    image.putpalette(palette)
    return image


@contextmanager
def mp4_writer(path: Path, shape: tuple[int, int], rate: float) -> Iterator[Callable[[RGB], object]]:
    """A function that appends RGB (H, W, 3) pictures to an MP4 film.

    Args:
        path: file to write, in a folder that exists.
        shape: height and width; odd ones lose their last line, as the encoding halves colours.
        rate: pictures a second.

    Raises:
        VasomimError: this build of OpenCV has no VP9.
    """
    height, width = shape[0] // 2 * 2, shape[1] // 2 * 2
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), rate, (width, height))
    try:
        if not writer.isOpened():
            raise VasomimError("this build of OpenCV cannot write MP4 films (VP9); take --movie gif")
        yield lambda picture: writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))
    finally:
        writer.release()


def fit_frame(image: FloatImage, mask: BoolImage, side: int) -> tuple[FloatImage, BoolImage]:
    """A frame and its mask, averaged over areas until no side is longer than `side`; smaller ones stay."""
    height, width = image.shape
    scale = side / max(height, width)
    if scale >= 1:
        return image, mask
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32), np.asarray(share > 0.5, dtype=np.bool_)
