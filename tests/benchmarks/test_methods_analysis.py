"""What is made of rows: pairing by seed and frame, correction, cells that were not run."""

from __future__ import annotations

import numpy as np
import pytest

from vasomim.benchmarks.methods.analysis import differences, pairs_of, score
from vasomim.benchmarks.methods.grid import Cell
from vasomim.benchmarks.methods.rows import Row

N = 60


def row(method: str, seed: int, values: np.ndarray, labels: str = "0.1") -> Row:
    ids = tuple(f"{i:03d}" for i in range(len(values)))
    content = {"evaluation": {"protocol": {"data": {"fingerprint": "same"}}}}
    return Row(Cell(method, labels, seed), {}, content, ids, ids, {"dice": tuple(values), "cldice": tuple(values)})


def rows_of(*rows: Row) -> dict[Cell, Row]:
    return {one.cell: one for one in rows}


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).normal(0.7, 0.1, N)


def test_score__is_the_mean_over_seeds_and_frames(frames: np.ndarray) -> None:
    found = score(rows_of(row("mae", 0, frames), row("mae", 1, frames + 0.1)), "mae", "0.1", "dice")
    assert found is not None
    assert found.mean == pytest.approx(frames.mean() + 0.05)
    assert found.by_seed == pytest.approx({0: frames.mean(), 1: frames.mean() + 0.1})
    assert found.ci95[0] < frames.mean() + 0.005, "the interval reaches from one seed to the other"
    assert score({}, "mae", "0.1", "dice") is None


def test_differences__are_paired_and_use_common_seeds_alone(frames: np.ndarray) -> None:
    """What all methods share on a frame or a seed cancels; a seed that one method lacks plays no part."""
    noise = np.random.default_rng(1).normal(0, 0.001, (2, N))
    rows = rows_of(
        row("scratch", 0, frames),
        row("scratch", 1, frames - 0.3),
        row("mae", 0, frames + 0.01 + noise[0]),
        row("mae", 1, frames - 0.3 + 0.01 + noise[1]),
        row("mae", 2, frames + 0.9),
    )
    (found,) = differences(rows, [("mae", "scratch")], ["0.1", "1.0"])
    assert found.seeds == (0, 1)
    assert found.difference == pytest.approx(0.01, abs=0.001)
    assert 0.009 < found.ci95[0] < found.ci95[1] < 0.011
    assert found.verdict == "few seeds"


def test_differences__hold_on_three_seeds_that_agree_and_never_on_fewer(frames: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 0.001, (3, N))
    both = [[row("scratch", seed, frames), row("mae", seed, frames + 0.01 + noise[seed])] for seed in range(3)]
    verdicts = []
    for seeds in (1, 2, 3):
        rows = rows_of(*(one for pair in both[:seeds] for one in pair))
        verdicts.append(differences(rows, [("mae", "scratch")], ["0.1"])[0].verdict)
    assert verdicts == ["few seeds", "few seeds", "yes"]


def test_differences__a_gain_that_hangs_on_the_seed_does_not_hold(frames: np.ndarray) -> None:
    """The test over frames is sure of these two trainings; the interval over seeds is not."""
    rows = rows_of(
        *(row("scratch", seed, frames) for seed in (0, 1)),
        row("mae", 0, frames + 0.05 + np.random.default_rng(2).normal(0, 0.001, N)),
        row("mae", 1, frames - 0.01),
    )
    (found,) = differences(rows, [("mae", "scratch")], ["0.1"])
    assert found.corrected < 0.05
    assert found.verdict == "no"


def test_differences__are_corrected_for_their_number(frames: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    names = ("mae", "simmim", "amt", "hpm", "dino")
    rows = rows_of(row("scratch", 0, frames), *(row(name, 0, frames + rng.normal(0.01, 0.04, N)) for name in names))
    found = differences(rows, [(name, "scratch") for name in names], ["0.1"])
    assert len(found) == 5
    assert min(one.corrected for one in found) == pytest.approx(5 * min(one.p_value for one in found))
    assert all(one.corrected >= one.p_value for one in found)


def test_pairs_of__each_pair_once() -> None:
    assert pairs_of(["scratch", "mae", "dino"], ["mae", "scratch"]) == [
        ("dino", "mae"),
        ("mae", "scratch"),
        ("dino", "scratch"),
    ]
