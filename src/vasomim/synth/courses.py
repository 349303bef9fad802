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
Values = npt.NDArray[np.float64]
"""(K,)."""

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
    heights = rng.uniform(0.3, 1.0, 3) * np.array((1.9, 1.2, 0.5)) * (strength * rng.uniform(0.6, 1.3) / _MM)
    waves = np.sin(2 * np.pi * along[:, None] / lengths + rng.uniform(0, 2 * np.pi, 3)) @ heights
    tangent = np.gradient(path[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    ease = np.sin(np.pi * np.linspace(0, 1, len(path))) ** 0.5
    # Here a vessel winds more, there less.
    waves *= 0.35 + 0.65 * np.sin(np.pi * along / rng.uniform(40, 90) + rng.uniform(0, np.pi)) ** 2
    wound = path.copy()
    wound[:, 0] -= tangent[:, 1] * waves * ease
    wound[:, 1] += tangent[:, 0] * waves * ease
    wound[:, 2] += 0.4 * np.roll(waves, 5) * ease
    return wound


def _leave(path: Path2, origins: Values) -> tuple[Path2, Values]:
    """Starts (K, 3) and headings (K,) in rad of side branches that leave `path` at shares `origins` of its course."""
    k = np.clip((origins * (len(path) - 1)).astype(np.int64), 1, len(path) - 2)
    ahead = path[k + 1, :2] - path[k - 1, :2]
    return path[k], np.arctan2(ahead[:, 1], ahead[:, 0])


def _wander(
    starts: Path2, headings: Values, lengths: Values, bends: Values, sway: float, rng: np.random.Generator
) -> list[Path2]:
    """K courses of given lengths (mm) from `starts` (K, 3), whose headings turn by `bends` rad and sway at random."""
    counts = np.maximum((lengths / _MM / _STEP).astype(np.int64), 6)
    u = np.minimum(np.arange(counts.max(initial=0)) / (counts[:, None] - 1), 1)
    periods = rng.uniform((20, 9), (40, 18), (len(counts), 2))
    phases = rng.uniform(0, 2 * np.pi, (len(counts), 2))
    depths = sway * rng.uniform(0.2, 0.6, (len(counts), 2))
    swing = 2 * np.pi * lengths[:, None, None] / periods[:, None] * u[..., None] + phases[:, None]
    turn = headings[:, None] + bends[:, None] * u
    turn += ((np.sin(swing) - np.sin(phases)[:, None]) * depths[:, None]).sum(2)
    path = np.empty((*u.shape, 3))
    path[..., 0], path[..., 1] = _STEP * np.cos(turn), _STEP * np.sin(turn)
    path[:, 1:, :2] = np.cumsum(path[:, :-1, :2], axis=1)
    path[:, :1, :2] = 0
    path[..., :2] += starts[:, None, :2]
    path[..., 2] = starts[:, None, 2] * (1 - u)
    return [line[:count] for line, count in zip(path, counts, strict=True)]


def _towards_apex(headings: Values, starts: Path2) -> Values:
    """The turns (K,) in rad from headings to the direction of the apex."""
    turns: Values = (np.arctan2(-starts[:, 1], -starts[:, 0]) - headings + np.pi) % (2 * np.pi) - np.pi
    return turns


def _offshoots(paths: list[Path2], anatomy: Anatomy, rng: np.random.Generator, size: float) -> list[list[Course]]:
    """Small side branches of several courses at once, a list for each; `size` scales their lengths."""
    samples = np.array([len(path) for path in paths])
    counts = rng.poisson(anatomy.twigs * samples * _STEP * _MM / 18.0)
    number = int(counts.sum())
    samples = np.repeat(samples, counts)
    origins = rng.uniform(0.12, 0.86, number)
    first = np.repeat(np.cumsum([0, *map(len, paths[:-1])]), counts)
    at = first + np.clip((origins * (samples - 1)).astype(np.int64), 1, samples - 2)
    joined = np.concatenate(paths)
    starts, ahead = joined[at], joined[at + 1] - joined[at - 1]
    headings = np.arctan2(ahead[:, 1], ahead[:, 0]) + rng.choice((-1, 1), number) * rng.uniform(0.6, 1.25, number)
    reaches = rng.uniform(12, 44, number) * size * (1.15 - origins)
    bends = np.clip(_towards_apex(headings, starts), -0.9, 0.9) * rng.uniform(0.2, 0.8, number)
    found = iter(_wander(starts, headings, reaches, bends, 0.4 + 0.5 * anatomy.tortuosity, rng))
    shares = iter(np.exp(rng.uniform(np.log(0.02), np.log(0.18), number)).tolist())
    places = iter(origins.tolist())
    return [[Course(next(found), next(places), next(shares)) for _ in range(count)] for count in counts.tolist()]


def _with_twigs(courses: list[Course], anatomy: Anatomy, rng: np.random.Generator) -> list[Course]:
    """Adds small side branches, and theirs where they are long enough, to every course."""
    twigs = _offshoots([course.path for course in courses], anatomy, rng, 1.0)
    long = [(k, n) for k, own in enumerate(twigs) for n, twig in enumerate(own) if len(twig.path) * _STEP * _MM > 21]
    if long:
        for (k, n), own in zip(long, _offshoots([twigs[k][n].path for k, n in long], anatomy, rng, 0.7), strict=True):
            twigs[k][n] = replace(twigs[k][n], sides=tuple(own))
    return [replace(course, sides=(*course.sides, *own)) for course, own in zip(courses, twigs, strict=True)]


def _main(stops: Sequence[tuple[float, float, float]], anatomy: Anatomy, rng: np.random.Generator) -> Path2:
    return _wind(_through(stops), anatomy.tortuosity, rng)


def _branch(
    parent: Path2, origin: float, end: tuple[float, float], share: float, anatomy: Anatomy, rng: np.random.Generator
) -> Course:
    """A named side branch from `parent` at share `origin` that runs to `end` = (rho, theta in degrees)."""
    start, heading = (found[0] for found in _leave(parent, np.array([origin])))
    angle = np.deg2rad(end[1])
    target = np.array([end[0] * np.cos(angle), end[0] * np.sin(angle)])
    span = float(np.linalg.norm(target - start[:2]))
    first = start[:2] + 0.3 * span * np.array([np.cos(heading), np.sin(heading)])
    u = np.linspace(0, 1, max(int(span / _STEP), 8))[:, None]
    flat = (1 - u) ** 2 * start[:2] + 2 * u * (1 - u) * first + u**2 * target
    path = np.concatenate([flat, start[2] * (1 - u)], axis=1)
    return Course(_wind(path, anatomy.tortuosity, rng), origin, share)


def _septals(lad: Path2, rng: np.random.Generator) -> list[Course]:
    """Thin, straight branches that dive from the anterior groove into the wall between the ventricles."""
    count = int(rng.integers(2, 7))
    origins = np.linspace(0.2, 0.62, count) + rng.uniform(-0.02, 0.02)
    starts, _ = _leave(lad, origins)
    headings = np.pi + rng.normal(0, 0.25, count)
    paths = _wander(starts, headings, rng.uniform(12, 30, count), np.zeros(count), 0.25, rng)
    for path, dive in zip(paths, rng.uniform(0.35, 0.6, count), strict=True):
        path[:, 2] += np.linspace(0, dive, len(path))
    shares = rng.uniform(0.012, 0.04, count)
    return [Course(p, o, s) for p, o, s in zip(paths, origins.tolist(), shares.tolist(), strict=True)]


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
    theta, depth, sag = rng.uniform(27, 38), rng.uniform(0.27, 0.42), rng.uniform(0.02, 0.09)
    middle = (GROOVE + sag, 0.5 * (theta + 24) + rng.normal(0, 1.5), 0.5 * (depth + 0.16))
    stem = _through([(GROOVE + 0.1, theta, depth), middle, (GROOVE + 0.02, 24.0, 0.16)])
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
    if rng.random() < 0.2:
        end = (float(rng.uniform(0.4, 0.8)), 60.0)
        diagonals.append(_branch(lad, 0.02, end, float(rng.uniform(0.12, 0.25)), anatomy, rng))  # a ramus
    flow = float(rng.uniform(0.45, 0.6) if anatomy.left_dominant else rng.uniform(0.36, 0.55))
    bare = [Course(lad, 1.0, 0.0), Course(circumflex, 1.0, flow), *diagonals, *marginals]
    descending, bend, *others = _with_twigs(bare, anatomy, rng)
    along, around = others[: len(diagonals)], others[len(diagonals) :]
    joint = len(stem) / (len(stem) + len(lad) - 1)
    sides = [
        replace(side, origin=joint + (1 - joint) * side.origin)
        for side in (*descending.sides, *along, *_septals(lad, rng))
    ]
    bend = replace(bend, origin=joint, sides=(*bend.sides, *around))
    return Course(np.concatenate([stem[:-1], lad]), 0.0, 1.0, (bend, *sides))


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
    whole, *others = _with_twigs([Course(path, 0.0, 1.0), *sides], anatomy, rng)
    return replace(whole, sides=(*whole.sides, *others))
