"""Everything that defines a synthetic angiogram, drawn once; rendering is a pure function of it.

Lengths are millimetres in the patient, angles degrees, unless a name says `px`: then they are pixels of a frame of
`REFERENCE_SIZE`, scaled with the frame. Patient axes: x to the patient's left, y to the back, z to the head; the origin
is the middle of the heart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

RECIPE_VERSION = 1
"""Rises whenever the same seed gives other pixels."""
REFERENCE_SIZE = 512
"""Side in pixels at which lengths in pixels are given."""

Side = Literal["left", "right"]
Polarity = Literal["dark", "bright"]
FieldShape = Literal["full", "rectangle", "circle"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """The heart and the coronary tree on it."""

    seed: int
    """Seed of the course of every vessel."""
    side: Side
    """Which coronary artery is injected."""
    root_radius: float = 2.1
    """Radius at the ostium."""
    murray_exponent: float = 2.8
    """gamma in r_parent^gamma = sum of r_daughter^gamma."""
    tortuosity: float = 1.0
    """Strength of winding; 0 gives smooth courses, 3 corkscrews."""
    twigs: float = 1.0
    """Number of small side branches, relative to usual."""
    left_dominant: bool = False
    """The circumflex, not the right artery, supplies the back of the heart."""
    heart_length: float = 58.0
    """Semi-axis of the heart from base to apex."""
    heart_width: float = 42.0
    """Semi-axis of the heart across."""
    num_stenoses: int = 0
    """Narrowings asked for; fewer where the tree has no room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Where the X-ray tube and the table stand."""

    lao: float
    """Angle of the detector towards the patient's left (LAO); negative is RAO."""
    cranial: float
    """Angle of the detector towards the head; negative is caudal."""
    roll: float = 0.0
    """In-plane rotation."""
    fill: float = 0.8
    """Share of the frame's side that the tree takes; more than 1 lets it run out of the frame."""
    fields: tuple[float, float] = (98.0, 150.0)
    """Smallest and largest side of the frame, measured in the heart, whatever `fill` asks for."""
    offset: tuple[float, float] = (0.0, 0.0)
    """How far the middle of the tree lies right of and below the middle of the frame, as shares of its side."""
    source_distance: float = 760.0
    """From the focal spot to the heart; perspective."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """Where heart and breath stand."""

    phase: float = 0.0
    """Of the heart beat, in [0, 1); 0 is the end of filling."""
    contraction: float = 1.0
    """Strength of the beat; 0 stops the heart."""
    breath: float = 0.0
    """How far the diaphragm has moved down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bolus:
    """Contrast agent on its way through the tree."""

    time: float = 10.0
    """Seconds since the injection began."""
    duration: float = 100.0
    """Seconds of injection; then clear blood follows."""
    speed: float = 180.0
    """Millimetres a second along the vessels."""
    front: float = 14.0
    """Softness of the front."""
    absorption: float = 0.11
    """Absorption a millimetre of undiluted contrast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backdrop:
    """Strengths (in natural-log units of attenuation) of what lies before and behind the vessels."""

    seed: int
    tissue: float = 0.0055
    """Absorption a millimetre of soft tissue, after compression."""
    spine: float = 0.2
    ribs: float = 0.05
    lung_texture: float = 0.08
    tissue_texture: float = 0.03
    spine_shift: float = -22.0
    """Position of the spine, in x."""
    diaphragm: float = -48.0
    """Height of the dome, in z."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """Catheter and wires; none is part of the mask."""

    seed: int
    catheter_radius: float = 0.95
    """0 for none."""
    catheter_absorption: float = 0.1
    femoral: bool = False
    """The catheter also shows in the descending aorta."""
    wire: bool = False
    """A guide wire lies in the artery."""
    electrode: bool = False
    """An electrode lies on the skin, without its cable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beam:
    """X-ray quanta, detector and the processing in the machine."""

    seed: int
    quanta: float = 900.0
    """X-ray quanta in a pixel of a `REFERENCE_SIZE` frame at mean grey; inf for no noise."""
    blur_px: float = 0.8
    """Gaussian sigma of focal spot, motion and detector."""
    noise_blur_px: float = 0.6
    """Gaussian sigma by which detector and processing blur the noise; at 0.6 a quarter of its variance is left."""
    scatter: float = 0.35
    """Scattered quanta for each primary one."""
    equalise: float = 0.35
    """How far large-scale brightness is evened out: 0 not at all, 1 fully."""
    sharpen: float = 0.5
    """Strength of the unsharp mask."""
    grey: float = 0.42
    """Mean grey level."""
    gamma: float = 1.0
    """Exponent from intensity to grey level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """What the collimator leaves open."""

    shape: FieldShape = "full"
    margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the frame covered at the left, top, right, bottom."""
    edge_px: float = 3.0
    """Softness of the collimator's edge."""
    leak: float = 0.02
    """Intensity behind the collimator."""
    wedge: float = 0.0
    """Attenuation of a half-transparent wedge filter; 0 for none."""
    wedge_angle: float = 0.0
    wedge_position: float = 0.3
    """Distance of the wedge's edge from the middle, as a share of the frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A whole synthetic acquisition; `dataclasses.replace` changes a part of it."""

    anatomy: Anatomy
    view: View
    backdrop: Backdrop
    devices: Devices
    beam: Beam
    motion: Motion = field(default_factory=Motion)
    bolus: Bolus = field(default_factory=Bolus)
    field: Field = field(default_factory=Field)
    mask_threshold: float = 0.35
    """Millimetres of undiluted contrast from which a pixel of a `REFERENCE_SIZE` frame counts as vessel."""


# Working angulations (LAO, cranial) of a coronary angiogram, by injected artery.
_VIEWS: dict[Side, tuple[tuple[float, float], ...]] = {
    "left": ((-30, -20), (-25, 20), (0, 30), (0, -30), (45, 25), (45, -25), (-10, 35), (90, 0), (-30, 0)),
    "right": ((45, 0), (30, 20), (0, 25), (-30, 0), (90, 0), (40, -5)),
}


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _view(rng: np.random.Generator, side: Side) -> View:
    lao, cranial = _VIEWS[side][int(rng.integers(len(_VIEWS[side])))]
    return View(
        lao=float(lao + rng.normal(0, 5)),
        cranial=float(cranial + rng.normal(0, 4)),
        roll=float(rng.normal(0, 2)),
        fill=float(rng.uniform(0.55, 0.95)),
        offset=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        source_distance=float(rng.uniform(700, 800)),
    )


def _anatomy(rng: np.random.Generator, num_stenoses: int) -> Anatomy:
    side: Side = "left" if rng.random() < 0.62 else "right"
    return Anatomy(
        seed=_seed(rng),
        side=side,
        root_radius=float(rng.uniform(1.75, 2.3) * (1.0 if side == "left" else 0.92)),
        murray_exponent=float(rng.uniform(2.7, 3.0)),
        tortuosity=float(np.clip(rng.gamma(2.5, 0.3), 0.15, 2.2)),
        twigs=float(rng.uniform(0.6, 1.7)),
        left_dominant=bool(rng.random() < 0.12),
        heart_length=float(rng.normal(58, 4)),
        heart_width=float(rng.normal(42, 3)),
        num_stenoses=num_stenoses,
    )


def _field(rng: np.random.Generator) -> Field:
    shape: FieldShape = ("full", "rectangle", "circle")[int(rng.choice(3, p=(0.45, 0.45, 0.10)))]
    small = rng.uniform(0.0, 0.03, 4)
    # A few machines export a small field in a large black frame.
    large = rng.uniform(0.04, 0.12, 4) * (rng.random() < 0.12)
    wedge = rng.uniform(0.1, 0.35) * (rng.random() < 0.25)
    left, top, right, bottom = (float(x) for x in np.maximum(small, large))
    return Field(
        shape=shape,
        margins=(left, top, right, bottom),
        edge_px=float(rng.uniform(1.0, 5.0)),
        leak=float(rng.uniform(0.0, 0.05)),
        wedge=float(wedge),
        wedge_angle=float(rng.uniform(0, 360)),
        wedge_position=float(rng.uniform(0.15, 0.42)),
    )


def _backdrop(rng: np.random.Generator) -> Backdrop:
    return Backdrop(
        seed=_seed(rng),
        tissue=float(rng.uniform(0.0055, 0.0105)),
        spine=float(rng.uniform(0.12, 0.34)),
        ribs=float(rng.uniform(0.03, 0.13)),
        lung_texture=float(rng.uniform(0.04, 0.11)),
        tissue_texture=float(rng.uniform(0.032, 0.06)),
        spine_shift=float(rng.normal(-24, 6)),
        diaphragm=float(rng.normal(-40, 16)),
    )


def _devices(rng: np.random.Generator) -> Devices:
    return Devices(
        seed=_seed(rng),
        catheter_radius=float(rng.uniform(0.8, 1.05) * (rng.random() < 0.95)),
        catheter_absorption=float(rng.uniform(0.1, 0.22)),
        femoral=bool(rng.random() < 0.2),
        wire=bool(rng.random() < 0.06),
        electrode=bool(rng.random() < 0.03),
    )


def _beam(rng: np.random.Generator) -> Beam:
    return Beam(
        seed=_seed(rng),
        quanta=float(np.exp(rng.uniform(np.log(280), np.log(1000)))),
        blur_px=float(rng.uniform(0.6, 1.2)),
        noise_blur_px=float(rng.uniform(0.42, 0.68)),
        scatter=float(rng.uniform(0.15, 0.6)),
        equalise=float(rng.uniform(0.15, 0.6)),
        sharpen=float(rng.uniform(0.0, 0.9)),
        grey=float(rng.uniform(0.32, 0.55)),
        gamma=float(rng.uniform(0.85, 1.25)),
    )


def sample_scene(rng: np.random.Generator, *, stenoses: bool = False) -> Scene:
    """Draws a scene as varied as clinical archives are; with `stenoses` one to three narrowings."""
    num_stenoses = int(rng.integers(1, 4))  # drawn either way, so that the rest of the scene stays the same
    anatomy = _anatomy(rng, num_stenoses if stenoses else 0)
    motion = Motion(phase=float(rng.random()), breath=float(rng.normal(0, 4)))
    bolus = Bolus(
        time=float(rng.uniform(1.1, 2.2)),
        duration=float(rng.uniform(2.5, 4.0)),
        speed=float(rng.uniform(130, 230)),
        absorption=float(rng.uniform(0.16, 0.33)),
    )
    return Scene(
        anatomy=anatomy,
        view=_view(rng, anatomy.side),
        backdrop=_backdrop(rng),
        devices=_devices(rng),
        beam=_beam(rng),
        motion=motion,
        bolus=bolus,
        field=_field(rng),
    )
