"""The courses of the coronary arteries over the heart, planned in a plane before they are laid on the surface.

The plane is a map of the heart seen from the apex: polar radius rho = angle from the apex (rad), polar angle theta =
angle around the long axis, 0 at the anterior groove between the ventricles, +90 deg at the left margin, 180 deg at the
posterior groove. The groove between atria and ventricles is the circle rho = GROOVE. A third coordinate is the depth
below the surface as a share of the distance to the heart's middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from vasomim.synth.scene import Anatomy

Path2 = npt.NDArray[np.float64]
"""(N, 3): two coordinates in the map and the depth."""

GROOVE = 1.5
_MM = 45.0
"""Millimetres of heart surface a unit of the map, roughly."""
_STEP = 1.2 / _MM
"""Distance of samples in the map."""


@dataclass(frozen=True, slots=True)
class Course:
    """A planned vessel with the vessels that leave it."""

    path: Path2
    origin: float
    """Where on its parent it leaves, as a share of the parent's course."""
    share: float
    """Share of the parent's flow it takes."""
    sides: tuple[Course, ...] = ()


def _through(stops: Sequence[tuple[float, float, float]]) -> Path2:
    """A smooth course through stops (rho, theta in degrees, depth), evenly sampled."""
    rho, theta, depth = np.array(stops).T
    angle = np.deg2rad(theta)
    knots = np.stack([rho * np.cos(angle), rho * np.sin(angle), depth], 1)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots[:, :2], axis=0), axis=1) + 1e-3)])
    count = max(int(along[-1] / _STEP), 8)
    path: Path2 = CubicSpline(along, knots)(np.linspace(0, along[-1], count))
    return path


def _wind(path: Path2, strength: float, rng: np.random.Generator) -> Path2:
    """Adds tortuosity: sideways waves of falling length that vanish at both ends."""
    along = np.arange(len(path)) * _STEP * _MM
    lengths = rng.uniform((28, 14, 8), (60, 26, 13))
    heights = rng.uniform(0.3, 1.0, 3) * np.array((1.5, 0.85, 0.33)) * (strength * rng.uniform(0.6, 1.3) / _MM)
    waves = np.sin(2 * np.pi * along[:, None] / lengths + rng.uniform(0, 2 * np.pi, 3)) @ heights
    tangent = np.gradient(path[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    ease = np.sin(np.pi * np.linspace(0, 1, len(path))) ** 0.5
    wound = path.copy()
    wound[:, 0] -= tangent[:, 1] * waves * ease
    wound[:, 1] += tangent[:, 0] * waves * ease
    wound[:, 2] += 0.4 * np.roll(waves, 5) * ease
    return wound


def _leave(path: Path2, origin: float) -> tuple[Path2, float]:
    """Start (3,) and heading (rad) of a side branch that leaves `path` at share `origin` of its course."""
    k = min(max(int(origin * (len(path) - 1)), 1), len(path) - 2)
    ahead = path[k + 1, :2] - path[k - 1, :2]
    return path[k], float(np.arctan2(ahead[1], ahead[0]))


def _wander(start: Path2, heading: float, length: float, bend: float, sway: float, rng: np.random.Generator) -> Path2:
    """A course of `length` mm from `start` whose heading turns by `bend` rad and sways at random."""
    count = max(int(length / _MM / _STEP), 6)
    u = np.linspace(0, 1, count)
    lengths = rng.uniform((20, 9), (40, 18))
    phases = rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * u[:, None] * length / lengths + phases) - np.sin(phases)
    turn = heading + bend * u + waves @ (sway * rng.uniform(0.2, 0.6, 2))
    path = np.empty((count, 3))
    steps = np.stack([np.cos(turn), np.sin(turn)], 1) * _STEP
    path[:, :2] = start[:2] + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)[:-1]])
    path[:, 2] = start[2] * (1 - u)
    return path


def _towards_apex(heading: float, start: Path2) -> float:
    """The turn (rad) from a heading to the direction of the apex."""
    to_apex = np.arctan2(-start[1], -start[0])
    return float((to_apex - heading + np.pi) % (2 * np.pi) - np.pi)


def _twigs(course: Course, anatomy: Anatomy, rng: np.random.Generator, level: int) -> Course:
    """Adds small side branches, and theirs, to a course."""
    length = len(course.path) * _STEP * _MM
    count = int(rng.poisson(anatomy.twigs * length / (15.0 if level == 0 else 17.0)))
    sides = list(course.sides)
    for origin, flip in zip(np.sort(rng.uniform(0.12, 0.93, count)), rng.random(count), strict=True):
        start, heading = _leave(course.path, float(origin))
        turn = (1 if flip < 0.5 else -1) * rng.uniform(0.6, 1.25)
        reach = float(rng.uniform(8, 30) * (1.0 if level == 0 else 0.7) * (1.15 - origin))
        bend = float(np.clip(_towards_apex(heading + turn, start), -0.9, 0.9) * rng.uniform(0.2, 0.8))
        path = _wander(start, heading + turn, reach, bend, 0.35 + 0.35 * anatomy.tortuosity, rng)
        share = float(np.exp(rng.uniform(np.log(0.02), np.log(0.13))))
        twig = Course(path=path, origin=float(origin), share=share)
        sides.append(_twigs(twig, anatomy, rng, level + 1) if level < 1 and reach > 16 else twig)
    return replace(course, sides=tuple(sides))


def _main(stops: Sequence[tuple[float, float, float]], anatomy: Anatomy, rng: np.random.Generator) -> Path2:
    return _wind(_through(stops), anatomy.tortuosity, rng)


def _branch(
    parent: Path2, origin: float, end: tuple[float, float], share: float, anatomy: Anatomy, rng: np.random.Generator
) -> Course:
    """A named side branch from `parent` at share `origin` that runs to `end` = (rho, theta in degrees)."""
    start, heading = _leave(parent, origin)
    angle = np.deg2rad(end[1])
    target = np.array([end[0] * np.cos(angle), end[0] * np.sin(angle)])
    span = float(np.linalg.norm(target - start[:2]))
    first = start[:2] + 0.3 * span * np.array([np.cos(heading), np.sin(heading)])
    u = np.linspace(0, 1, max(int(span / _STEP), 8))[:, None]
    flat = (1 - u) ** 2 * start[:2] + 2 * u * (1 - u) * first + u**2 * target
    path = np.concatenate([flat, start[2] * (1 - u)], axis=1)
    return _twigs(Course(_wind(path, anatomy.tortuosity, rng), origin, share), anatomy, rng, 0)


def _septals(lad: Path2, rng: np.random.Generator) -> list[Course]:
    """Thin, straight branches that dive from the anterior groove into the wall between the ventricles."""
    found = []
    for origin in np.linspace(0.2, 0.62, int(rng.integers(2, 7))) + rng.uniform(-0.02, 0.02):
        start, _ = _leave(lad, float(origin))
        path = _wander(start, float(np.pi + rng.normal(0, 0.25)), float(rng.uniform(12, 30)), 0.0, 0.25, rng)
        path[:, 2] += np.linspace(0, 1, len(path)) * rng.uniform(0.35, 0.6)
        found.append(Course(path=path, origin=float(origin), share=float(rng.uniform(0.012, 0.04))))
    return found


def _lad(anatomy: Anatomy, rng: np.random.Generator) -> Path2:
    tip = float(rng.uniform(-0.35, 0.3))
    stops = [
        (GROOVE + 0.02, 24.0, 0.16),
        (1.36, float(rng.normal(10, 2)), 0.03),
        (1.0, float(rng.normal(3, 4)), 0.0),
        (0.55, float(rng.normal(0, 6)), 0.0),
        (abs(tip) + 0.04, 4.0 if tip > 0 else 176.0, 0.0),
    ]
    return _main(stops, anatomy, rng)


def _circumflex(anatomy: Anatomy, rng: np.random.Generator) -> Path2:
    last = float(rng.uniform(165, 185) if anatomy.left_dominant else rng.uniform(95, 150))
    stops = [(GROOVE + 0.02, 24.0, 0.16), (GROOVE + 0.03, 46.0, 0.04)]
    stops += [(GROOVE + float(rng.normal(0, 0.03)), float(t), 0.0) for t in np.linspace(72, last, 4)]
    stops.append((GROOVE - float(rng.uniform(0.15, 0.5)), last + 9, 0.0))
    return _main(stops, anatomy, rng)


def plan_left(anatomy: Anatomy, rng: np.random.Generator) -> Course:
    """Left main stem with anterior descending, circumflex, diagonals, septals, marginals, sometimes a ramus."""
    stem = _through([(GROOVE + 0.12, 36.0, 0.5), (GROOVE + 0.06, 30.0, 0.3), (GROOVE + 0.02, 24.0, 0.16)])
    lad, circumflex = _lad(anatomy, rng), _circumflex(anatomy, rng)
    diagonals = [
        _branch(lad, float(o + rng.normal(0, 0.03)), (rng.uniform(0.35, 0.8), rng.uniform(32, 62)), s, anatomy, rng)
        for o, s in zip((0.2, 0.36, 0.54), rng.uniform((0.14, 0.1, 0.06), (0.32, 0.22, 0.16)), strict=True)
        if rng.random() < 0.85
    ]
    marginals = [
        _branch(circumflex, float(o), (rng.uniform(0.35, 0.9), t + rng.normal(0, 8)), s, anatomy, rng)
        for o, t, s in zip((0.3, 0.55, 0.78), (82, 112, 138), rng.uniform(0.15, 0.45, 3), strict=True)
        if rng.random() < 0.85
    ]
    flow = float(rng.uniform(0.36, 0.55) if not anatomy.left_dominant else rng.uniform(0.45, 0.6))
    rest = (*diagonals, *_septals(lad, rng))
    descending = _twigs(Course(lad, 1.0, 0.0, rest), anatomy, rng, 0)
    bend = _twigs(Course(circumflex, 1.0, flow, tuple(marginals)), anatomy, rng, 0)
    if rng.random() < 0.2:
        ramus = _branch(lad, 0.02, (rng.uniform(0.4, 0.8), 60.0), float(rng.uniform(0.12, 0.25)), anatomy, rng)
        descending = replace(descending, sides=(*descending.sides, ramus))
    joint = len(stem) / (len(stem) + len(lad) - 1)
    whole = np.concatenate([stem[:-1], lad])
    moved = tuple(replace(s, origin=joint + (1 - joint) * s.origin) for s in descending.sides)
    return Course(whole, 0.0, 1.0, (replace(bend, origin=joint), *moved))


def plan_right(anatomy: Anatomy, rng: np.random.Generator) -> Course:
    """Right coronary artery with conus, marginal, posterior descending and posterolateral branches."""
    last = -150.0 if anatomy.left_dominant else float(rng.normal(-172, 4))
    stops = [(GROOVE + 0.1, -22.0, 0.45), (GROOVE + 0.06, -30.0, 0.22), (GROOVE + 0.03, -44.0, 0.04)]
    stops += [(GROOVE + float(rng.normal(0, 0.03)), float(t), 0.0) for t in np.linspace(-68, last, 5)]
    beyond = float(rng.uniform(8, 45))
    stops += [(GROOVE - 0.04, last - 0.5 * beyond, 0.0), (GROOVE - rng.uniform(0.2, 0.6), last - beyond - 8, 0.0)]
    path = _main(stops, anatomy, rng)
    theta = np.unwrap(np.arctan2(path[:, 1], path[:, 0]))
    theta -= 2 * np.pi * np.round((theta[0] - np.deg2rad(-22)) / (2 * np.pi))

    def at(degrees: float) -> float:
        return float(np.argmin(np.abs(theta - np.deg2rad(degrees))) / (len(path) - 1))

    plans = [
        (at(-36), (rng.uniform(0.9, 1.15), -12.0), rng.uniform(0.03, 0.1), 0.8),
        (at(-75), (rng.uniform(0.7, 1.0), -52.0), rng.uniform(0.03, 0.1), 0.7),
        (at(-115), (rng.uniform(0.4, 0.8), -108.0), rng.uniform(0.06, 0.18), 0.9),
        (at(-138), (rng.uniform(0.6, 0.9), -140.0), rng.uniform(0.03, 0.1), 0.5),
        (at(last + 4), (rng.uniform(0.2, 0.6), -176.0), rng.uniform(0.3, 0.5), 1.0),
        (min(at(last - 0.5 * beyond), 0.93), (rng.uniform(0.7, 1.0), last - beyond), rng.uniform(0.15, 0.4), 0.8),
    ]
    sides = [
        _branch(path, origin, end, float(share), anatomy, rng)
        for origin, end, share, odds in plans
        if rng.random() < odds
    ]
    return _twigs(Course(path, 0.0, 1.0, tuple(sides)), anatomy, rng, 0)
