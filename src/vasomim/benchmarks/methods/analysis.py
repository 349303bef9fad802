"""What the rows say: means with intervals, and paired tests corrected for their number.

Values of a method at one share of labels are a table of seeds x frames. Methods are paired twice over: a seed draws the
same labelled frames, order and augmentation for all of them, and all are scored on the same frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from vasomim.benchmarks.methods.grid import Cell
from vasomim.benchmarks.methods.rows import Row
from vasomim.stats import FloatArray, crossed_ci, holm, paired_test

Rows = Mapping[Cell, Row]

LEAST_SEEDS: Final = 3
"""Trainings of each method below which no difference is said to hold: how often chance alone looks like a difference on
fewer, stands in results/seeds.json."""


@dataclass(frozen=True)
class Score:
    """A metric of a method at one share of labels."""

    method: str
    labels: str
    mean: float
    ci95: tuple[float, float]
    """Over frames, and over seeds where there are several."""
    by_seed: Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """A method less a baseline at one share of labels, on the seeds that both have."""

    method: str
    baseline: str
    labels: str
    seeds: tuple[int, ...]
    difference: float
    ci95: tuple[float, float]
    """As for scores."""
    p_value: float
    """Sign-flip permutation test over frames, seeds averaged: of these trainings, not of the next ones."""
    corrected: float
    """By Holm, over all differences of the table."""

    @property
    def verdict(self) -> Literal["yes", "no", "few seeds"]:
        """Whether it holds: by the corrected test, an interval over seeds too, and on enough of them to know one."""
        clear = self.corrected < 0.05 and not self.ci95[0] <= 0 <= self.ci95[1]
        if not clear:
            return "no"
        return "yes" if len(self.seeds) >= LEAST_SEEDS else "few seeds"


def table_of(rows: Rows, method: str, labels: str, metric: str, seeds: Sequence[int]) -> FloatArray:
    """Values of seeds x frames."""
    return np.array([rows[Cell(method, labels, seed)].values[metric] for seed in seeds])


def seeds_of(rows: Rows, method: str, labels: str) -> tuple[int, ...]:
    """Seeds for which a method has a row, rising."""
    return tuple(sorted(cell.seed for cell in rows if (cell.method, cell.labels) == (method, labels)))


def patients_of(rows: Rows) -> tuple[str, ...]:
    """The patient of each frame, or its id."""
    return next(iter(rows.values())).patients


def score(rows: Rows, method: str, labels: str, metric: str) -> Score | None:
    """Mean and interval; None where no cell was run."""
    seeds = seeds_of(rows, method, labels)
    if not seeds:
        return None
    table = table_of(rows, method, labels, metric, seeds)
    by_seed = {seed: float(values.mean()) for seed, values in zip(seeds, table, strict=True)}
    return Score(method, labels, float(table.mean()), crossed_ci(table, groups=patients_of(rows)), by_seed)


def differences(
    rows: Rows, pairs: Sequence[tuple[str, str]], labels: Sequence[str], metric: str = "dice"
) -> list[Difference]:
    """Every pair (method, baseline) at every share for which both have a seed in common; one family for Holm."""
    found = [one for share in labels for pair in pairs if (one := difference(rows, *pair, share, metric)) is not None]
    corrected = holm([one.p_value for one in found])
    return [replace(one, corrected=value) for one, value in zip(found, corrected, strict=True)]


def difference(rows: Rows, method: str, baseline: str, labels: str, metric: str) -> Difference | None:
    """Method less baseline, not corrected; None where they have no seed in common."""
    seeds = tuple(sorted({*seeds_of(rows, method, labels)} & {*seeds_of(rows, baseline, labels)}))
    if not seeds:
        return None
    ours, theirs = (table_of(rows, name, labels, metric, seeds) for name in (method, baseline))
    groups = patients_of(rows)
    tested = paired_test(ours.mean(0), theirs.mean(0), n=1, groups=groups)
    interval = crossed_ci(ours - theirs, groups=groups)
    return Difference(method, baseline, labels, seeds, tested.difference, interval, tested.p_value, tested.p_value)


def pairs_of(methods: Sequence[str], baselines: Sequence[str]) -> list[tuple[str, str]]:
    """Each method against each baseline; of two baselines the first against the second."""
    return [
        (method, baseline)
        for baseline in baselines
        for method in methods
        if method != baseline and not (method in baselines and baselines.index(method) > baselines.index(baseline))
    ]
