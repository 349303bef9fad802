"""One synthetic angiogram: from a seed to a scene, from a scene to pixels and exact annotation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vasomim.synth import background, devices
from vasomim.synth.collimator import blanking, opening, wedge
from vasomim.synth.physics import expose, quantise
from vasomim.synth.projection import Camera, set_up
from vasomim.synth.scene import REFERENCE_SIZE, Polarity, Scene, sample_scene
from vasomim.synth.shadows import Shadow, cast
from vasomim.synth.tree import Tree, displacement, grow_tree, move
from vasomim.synth.values import as_float
from vasomim.types import BoolImage, Box, FloatImage

_WIDEN = 0.28
"""Exponent by which vessels of small frames are widened; a 64 px frame of a whole heart would hardly show any."""


@dataclass(frozen=True, slots=True)
class Angiogram:
    """A synthetic frame and everything that is known of it."""

    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    """(H, W) 8 or 16 bits, full range; vessels dark unless the polarity is `bright`."""
    mask: BoolImage
    """(H, W) vessels that hold contrast inside the open field; devices are not included."""
    centerline: BoolImage
    """(H, W) axes of these vessels, inside the mask."""
    radii: FloatImage
    """(H, W) projected radius in pixels on the centreline, 0 elsewhere."""
    boxes: tuple[Box, ...]
    """Stenoses that are seen."""
    thickness: FloatImage
    """(H, W) millimetres of undiluted contrast along the beam."""
    field: BoolImage
    """(H, W) where the collimator is open."""
    scene: Scene


def check_size(size: int) -> None:
    """Raises ValueError for a frame too small to show a vessel."""
    if size < 32:
        raise ValueError(f"size is {size} pixels, a synthetic angiogram needs at least 32; give a larger size")


def scene_of(seed: int, index: int, *, stenoses: bool = False) -> Scene:
    """The scene of frame `index` of the series `seed`, which depends on nothing else."""
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got seed={seed}, index={index}")
    return sample_scene(np.random.default_rng((seed, index)), stenoses=stenoses)


def widening(size: int) -> float:
    """Factor on vessel radii in frames smaller than `REFERENCE_SIZE`; 1 from there on."""
    return float(max(1.0, (REFERENCE_SIZE / size) ** _WIDEN))


def threshold_of(scene: Scene, size: int) -> float:
    """Millimetres of contrast from which a pixel of a frame of this size counts as vessel.

    In small frames a pixel averages over more than a twig, and only larger vessels are seen; the mask follows.
    """
    return float(scene.mask_threshold * widening(size) ** 2.5)


def camera_at_rest(scene: Scene, tree: Tree, size: int) -> Camera:
    """The camera, centred on the tree at rest: it does not follow the beat."""
    still = displacement(replace(scene.motion, phase=0.0, breath=0.0), scene.anatomy)
    points = np.concatenate([b.points for b in tree.branches]) @ still[0].T + still[1]
    return set_up(scene.view, size, points)


def render_tree(scene: Scene, tree: Tree, camera: Camera, *, frame: int = 0) -> tuple[FloatImage, Shadow, BoolImage]:
    """Grey levels (H, W) in [0, 1], shadow and open field of a scene whose tree is grown already."""
    size = camera.size
    moved = move(tree, scene.motion, scene.anatomy)
    transmission, inside = opening(scene.field, size)
    shadow = cast(moved, camera, scene.bolus, threshold_of(scene, size), widening(size), inside)
    behind = background.attenuation(scene.anatomy, scene.backdrop, scene.motion, camera)
    if scene.field.wedge > 0:
        behind = behind + wedge(scene.field, size)
    contrast = scene.bolus.absorption * shadow.thickness / widening(size)
    contrast += devices.attenuation(scene.devices, moved, camera, widening(size))
    grey = expose(behind, contrast, transmission, inside, scene.beam, frame)
    if scene.field.shape == "circle":
        grey = as_float(grey * blanking(scene.field, size))
    return grey, shadow, inside


def render(scene: Scene, size: int = 512, *, bits: Literal[8, 16] = 8, polarity: Polarity = "dark") -> Angiogram:
    """Renders a scene: a pure function, equal to the byte wherever it runs.

    Args:
        scene: everything that is seen.
        size: side of the frame in pixels, at least 32.
        bits: 8 or 16 a pixel.
        polarity: `dark` vessels, or `bright` ones (black and white turned round, border included).

    Raises:
        ValueError: size below 32.
    """
    check_size(size)
    tree = grow_tree(scene.anatomy)
    grey, shadow, inside = render_tree(scene, tree, camera_at_rest(scene, tree, size))
    return assemble(quantise(grey, bits, polarity), shadow, inside, scene)


def assemble(
    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], shadow: Shadow, inside: BoolImage, scene: Scene
) -> Angiogram:
    """Joins pixels and annotation."""
    return Angiogram(
        image=image,
        mask=shadow.mask,
        centerline=shadow.centerline,
        radii=shadow.radii,
        boxes=shadow.boxes,
        thickness=shadow.thickness,
        field=inside,
        scene=scene,
    )


def generate(
    seed: int,
    size: int = 512,
    *,
    index: int = 0,
    stenoses: bool = False,
    bits: Literal[8, 16] = 8,
    polarity: Polarity = "dark",
) -> Angiogram:
    """Makes frame `index` of the series `seed`: a synthetic coronary angiogram with its exact mask.

    Args:
        seed: of the series, not negative.
        size: side of the frame in pixels, at least 32.
        index: of the frame; it depends on seed and index alone.
        stenoses: narrow one to three vessels and give their boxes.
        bits: 8 or 16 a pixel.
        polarity: `dark` or `bright` vessels.

    Raises:
        ValueError: negative seed or index, size below 32.
    """
    return render(scene_of(seed, index, stenoses=stenoses), size, bits=bits, polarity=polarity)
