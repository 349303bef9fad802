"""A coronary tree in three dimensions: courses laid on the heart, radii from Murray's law, stenoses, the heart beat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vasomim.synth.courses import Course, plan_left, plan_right
from vasomim.synth.scene import Anatomy, Motion

Points = npt.NDArray[np.float64]
"""(N, 3) millimetres, patient axes."""
Values = npt.NDArray[np.float64]
"""(N,)."""

# Long axis of the heart (to the left, front and down), and the anterior groove as seen from it.
_AXIS = np.array((0.62, -0.56, -0.55)) / np.linalg.norm((0.62, -0.56, -0.55))
_FRONT = np.array((0.15, -0.65, 0.75))
_FRONT = (_FRONT - _FRONT @ _AXIS * _AXIS) / np.linalg.norm(_FRONT - _FRONT @ _AXIS * _AXIS)
_LEFT = np.cross(_FRONT, _AXIS) * np.sign(np.cross(_FRONT, _AXIS)[0])
HEART_BASIS = np.stack([_AXIS, _FRONT, _LEFT])
"""(3, 3): rows are the long axis, the anterior groove and the left margin, in patient axes."""

_TAPER = 0.0022
"""Relative loss of radius a millimetre between bifurcations."""
_TIP = 18.0
"""Millimetres over which a vessel thins out at its end; at most its last piece."""
_SHORTEST = 3
"""Fewest samples of a piece between two bifurcations; a side branch nearer to the one before is left out."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A piece of vessel from one bifurcation to the next; it starts on the last point of its parent."""

    points: Points
    radii: Values
    """(N,) mm."""
    distance: Values
    """(N,) mm of vessel from the ostium."""
    parent: int
    """Index of the piece it leaves, -1 for the first."""
    vessel: int
    """Number of the vessel it belongs to: the larger line goes on through a bifurcation, a side branch is a new one."""
    plain_radii: Values
    """(N,) mm without stenosis."""


@dataclass(frozen=True, slots=True)
class Stenosis:
    """A narrowing of one branch."""

    branch: int
    first: int
    last: int
    """Samples of the branch it reaches over, last inclusive."""
    severity: float
    """Share of the diameter lost at the tightest place."""


@dataclass(frozen=True, slots=True)
class Tree:
    """All pieces, parents before children."""

    branches: tuple[Branch, ...]
    stenoses: tuple[Stenosis, ...] = ()

    def bifurcations(self) -> Iterator[tuple[Branch, tuple[Branch, ...]]]:
        """Every piece that divides, with the pieces it divides into."""
        daughters: dict[int, list[Branch]] = {}
        for branch in self.branches:
            daughters.setdefault(branch.parent, []).append(branch)
        for index, branch in enumerate(self.branches):
            if index in daughters:
                yield branch, tuple(daughters[index])


def on_heart(path: Points, length: float, width: float) -> Points:
    """Lays a planned course (N, 3: map and depth) on the ellipsoidal heart -> (N, 3) mm, patient axes."""
    rho = np.hypot(path[:, 0], path[:, 1])
    sinc = np.sinc(rho / np.pi)  # sin(rho) / rho, fine at the apex
    local = np.stack([length * np.cos(rho), width * sinc * path[:, 0], width * sinc * path[:, 1]], 1)
    placed: Points = (1 - path[:, 2:]) * local @ HEART_BASIS
    return placed


def _cuts(course: Course) -> list[tuple[int, Course]]:
    """Samples at which side branches leave, in order, too close ones left out; larger branches go first."""
    last = len(course.path) - 1
    taken: dict[int, Course] = {}
    for side in sorted(course.sides, key=lambda s: -s.share):
        at = int(side.origin * last)
        if _SHORTEST <= at <= last - _SHORTEST and all(abs(at - other) >= _SHORTEST for other in taken):
            taken[at] = side
    return sorted(taken.items(), key=lambda item: item[0])


class _Grower:
    """Collects the pieces while courses are cut at their bifurcations."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self.branches: list[Branch] = []
        self.num_vessels = 0

    def grow(self, course: Course, start: Points, radius: float, distance: float, parent: int) -> None:
        """Adds a vessel that starts with `radius` at `start`, and all that leave it."""
        points = on_heart(course.path, self.anatomy.heart_length, self.anatomy.heart_width)
        points += (start - points[0]) * np.linspace(1, 0, len(points))[:, None]  # winding moved its parent
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        along = distance + np.concatenate([[0.0], np.cumsum(steps)])
        vessel, self.num_vessels = self.num_vessels, self.num_vessels + 1
        begin, gamma, later = 0, self.anatomy.murray_exponent, []
        for cut, side in _cuts(course):
            radii = radius * np.exp(-_TAPER * (along[begin : cut + 1] - along[begin]))
            piece = slice(begin, cut + 1)
            self.branches.append(Branch(points[piece], radii, along[piece], parent, vessel, radii))
            parent = len(self.branches) - 1
            later.append((side, points[cut], float(radii[-1] * side.share ** (1 / gamma)), float(along[cut]), parent))
            radius, begin = float(radii[-1] * (1 - side.share) ** (1 / gamma)), cut
        left = along[-1] - along[begin:]
        end = 0.2 + 0.8 * np.sqrt(np.clip(left / min(_TIP, left[0] + 1e-9), 0, 1))
        radii = radius * end * np.exp(-_TAPER * (along[begin:] - along[begin]))
        self.branches.append(Branch(points[begin:], radii, along[begin:], parent, vessel, radii))
        for side, point, side_radius, side_distance, stem in later:
            self.grow(side, point, side_radius, side_distance, stem)


def grow_tree(anatomy: Anatomy) -> Tree:
    """The tree of an anatomy: a pure function of it.

    At every bifurcation r_parent^gamma = r_a^gamma + r_b^gamma holds exactly (Murray, PNAS 12, 1926; gamma 3 there,
    2.7 to 3 measured in coronaries), the shares being the flows; between them vessels taper slightly.
    """
    rng = np.random.default_rng(anatomy.seed)
    course = plan_left(anatomy, rng) if anatomy.side == "left" else plan_right(anatomy, rng)
    grower = _Grower(anatomy)
    start = on_heart(course.path[:1], anatomy.heart_length, anatomy.heart_width)[0]
    grower.grow(course, start, anatomy.root_radius, 0.0, -1)
    return _narrow(Tree(tuple(grower.branches)), anatomy.num_stenoses, rng)


def _narrow(tree: Tree, count: int, rng: np.random.Generator) -> Tree:
    """Puts up to `count` stenoses into different larger pieces, away from their ends."""
    branches, found = list(tree.branches), []
    roomy = [i for i, b in enumerate(branches) if b.radii[0] > 0.75 and b.distance[-1] - b.distance[0] > 9]
    for index in rng.permutation(roomy)[:count]:
        branch = branches[index]
        room = branch.distance[-1] - branch.distance[0]
        half = float(rng.uniform(3.0, min(7.0, 0.4 * room)))
        middle = branch.distance[0] + float(rng.uniform(half, room - half))
        severity = float(rng.uniform(0.45, 0.78))
        reach = (branch.distance - middle) / half
        bell = np.where(np.abs(reach) < 1, 0.5 * (1 + np.cos(np.pi * reach)), 0.0)
        inside = np.flatnonzero(bell > 0)
        branches[index] = replace(branch, radii=branch.radii * (1 - severity * bell))
        found.append(Stenosis(int(index), int(inside[0]), int(inside[-1]), severity))
    return Tree(tuple(branches), tuple(found))


def squeeze(phase: float) -> float:
    """How far the heart is contracted at a phase of its beat: in [0, 1], quick to contract, slower to fill."""
    p = phase % 1.0
    return float(0.5 * (1 - np.cos(np.pi * (p / 0.38 if p < 0.38 else 1 + (p - 0.38) / 0.62))))


def displacement(motion: Motion, anatomy: Anatomy) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The heart's motion as a matrix (3, 3) and a shift (3,) in patient axes: moved = points @ matrix.T + shift.

    The apex stays, the base comes towards it, the walls come in, the heart turns around its long axis.
    """
    c = motion.contraction * squeeze(motion.phase)
    turn = np.deg2rad(5.0) * c
    spin = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    local = spin @ np.diag((1 - 0.13 * c, 1 - 0.09 * c, 1 - 0.09 * c))
    matrix = HEART_BASIS.T @ local @ HEART_BASIS
    apex = anatomy.heart_length * HEART_BASIS[0]
    return matrix, apex - matrix @ apex + np.array((0.0, 0.0, -motion.breath))


def move(tree: Tree, motion: Motion, anatomy: Anatomy) -> Tree:
    """The tree where heart beat and breath have carried it."""
    matrix, shift = displacement(motion, anatomy)
    return replace(tree, branches=tuple(replace(b, points=b.points @ matrix.T + shift) for b in tree.branches))
