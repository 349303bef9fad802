"""Cine runs: contrast flows in and out, the heart beats, the patient breathes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vasomim.synth.angiogram import Angiogram, assemble, camera_at_rest, check_size, render_tree, scene_of
from vasomim.synth.physics import quantise
from vasomim.synth.scene import Polarity, Scene
from vasomim.synth.tree import grow_tree
from vasomim.types import BoolImage, Box


@dataclass(frozen=True, slots=True)
class Cine:
    """A synthetic run."""

    images: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """(T, H, W) 8 or 16 bits."""
    masks: BoolImage
    """(T, H, W) vessels that hold contrast in each frame."""
    centerlines: BoolImage
    """(T, H, W)."""
    boxes: tuple[tuple[Box, ...], ...]
    """Stenoses that are seen, of each frame."""
    times: npt.NDArray[np.float64]
    """(T,) seconds since the injection began."""
    scenes: tuple[Scene, ...]


def plan_run(scene: Scene, num_frames: int, frame_rate: float, rng: np.random.Generator) -> tuple[Scene, ...]:
    """The scenes of a run: one acquisition from shortly before the injection until the contrast has washed out."""
    rate, depth = rng.uniform(0.9, 1.5), rng.uniform(0, 5)
    times = np.arange(num_frames) / frame_rate - 0.15
    bolus = replace(scene.bolus, duration=max(0.45 * float(times[-1]), 0.5))
    return tuple(
        replace(
            scene,
            motion=replace(
                scene.motion,
                phase=float((scene.motion.phase + rate * t) % 1.0),
                breath=scene.motion.breath + depth * float(np.sin(2 * np.pi * t / 4)),
            ),
            bolus=replace(bolus, time=float(t)),
        )
        for t in times
    )


def render_run(
    scenes: tuple[Scene, ...], size: int, *, bits: Literal[8, 16], polarity: Polarity
) -> Iterator[Angiogram]:
    """Renders the scenes of a run one after the other, with one tree, one camera and fresh noise in every frame."""
    tree = grow_tree(scenes[0].anatomy)
    camera = camera_at_rest(scenes[0], tree, size)
    for number, scene in enumerate(scenes):
        grey, shadow, inside = render_tree(scene, tree, camera, frame=number)
        yield assemble(quantise(grey, bits, polarity), shadow, inside, scene)


def iterate_cine(
    seed: int,
    size: int = 512,
    num_frames: int = 48,
    *,
    index: int = 0,
    frame_rate: float = 15.0,
    stenoses: bool = False,
    bits: Literal[8, 16] = 8,
    polarity: Polarity = "dark",
) -> Iterator[Angiogram]:
    """The frames of `generate_cine` one at a time, so that memory does not grow with the run."""
    check_size(size)
    if num_frames < 1 or frame_rate <= 0:
        raise ValueError(f"a run needs num_frames >= 1 and frame_rate > 0, got {num_frames} and {frame_rate}")
    scene = scene_of(seed, index, stenoses=stenoses)
    scenes = plan_run(scene, num_frames, frame_rate, np.random.default_rng((seed, index, 1)))
    return render_run(scenes, size, bits=bits, polarity=polarity)


def generate_cine(
    seed: int,
    size: int = 512,
    num_frames: int = 48,
    *,
    index: int = 0,
    frame_rate: float = 15.0,
    stenoses: bool = False,
    bits: Literal[8, 16] = 8,
    polarity: Polarity = "dark",
) -> Cine:
    """Makes run `index` of the series `seed`: contrast flows in and out of a beating heart.

    Args:
        seed: of the series, not negative.
        size: side of the frames in pixels, at least 32.
        num_frames: T; the contrast is in the tree from about the first tenth to the half of the run.
        index: of the run.
        frame_rate: frames a second.
        stenoses: narrow one to three vessels and give their boxes.
        bits: 8 or 16 a pixel.
        polarity: `dark` or `bright` vessels.

    Raises:
        ValueError: an argument out of its range.
    """
    frames = list(
        iterate_cine(
            seed, size, num_frames, index=index, frame_rate=frame_rate, stenoses=stenoses, bits=bits, polarity=polarity
        )
    )
    pixels = [frame.image for frame in frames]
    return Cine(
        images=np.array(pixels, np.uint8) if bits == 8 else np.array(pixels, np.uint16),
        masks=np.stack([f.mask for f in frames]),
        centerlines=np.stack([f.centerline for f in frames]),
        boxes=tuple(f.boxes for f in frames),
        times=np.array([f.scene.bolus.time for f in frames]),
        scenes=tuple(f.scene for f in frames),
    )
