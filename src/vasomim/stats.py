"""How sure a mean is, and whether two methods differ: intervals of means and a paired permutation test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

FloatArray = npt.NDArray[np.float64]

PAIRED_TEST: Final = "sign-flip permutation test of the mean difference, two-sided"
EXACT_UP_TO: Final = 14
"""Up to this many clusters every one of the 2^n sign patterns is tried, so the p value is exact."""
_BLOCK: Final = 4_000_000
"""Numbers drawn at once; bounds memory for any number of frames."""


def bootstrap_ci(
    values: Any,
    n: int = 2000,
    seed: int = 0,
    *,
    level: float = 0.95,
    groups: Sequence[Hashable] | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron & Tibshirani 1993, ch. 13): (low, high).

    The order of the values does not matter. One value (or one group) gives an interval without width, as there is
    nothing to resample; no value gives (nan, nan).

    Args:
        values: (N,) finite numbers, one a frame.
        n: Resamples.
        seed: Of the resamples.
        level: Probability mass inside the interval.
        groups: One label a value, such as the patient: whole groups are resampled, as frames of one patient are alike.

    Raises:
        ValueError: A value is not finite, `groups` has another length, or `n` or `level` is out of range.
    """
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"need n >= 1 and 0 < level < 1, got n={n} and level={level}")
    numbers = _finite(values)
    if numbers.size == 0:
        return float("nan"), float("nan")
    sums, counts = _clusters(numbers, groups)
    means = _resampled_means(sums, counts, n, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    # Sums are rounded: without this the interval of equal values could miss them by one ulp.
    return float(np.clip(low, numbers.min(), numbers.max())), float(np.clip(high, numbers.min(), numbers.max()))


def crossed_ci(values: Any, *, level: float = 0.95, groups: Sequence[Hashable] | None = None) -> tuple[float, float]:
    """Interval of the mean of a table of seeds x frames, both taken for samples of many: (low, high).

    Every seed meets every frame, so the variance of the mean has a part of each: that of the S means over frames, and
    that of the N means over seeds; t with the degrees of freedom of Satterthwaite (Biometrics Bulletin 1946). What is
    left of neither counts twice, which makes it wide rather than narrow. Not a bootstrap: two seeds drawn anew are too
    few to tell how far apart seeds lie, which t takes into account. One seed gives an interval over frames alone, which
    says nothing of other trainings.

    Args:
        values: (S, N) finite numbers, a row a seed, a column a frame.
        level: Probability mass inside the interval.
        groups: One label a frame, such as the patient: frames of one are alike, so groups count, not frames.

    Raises:
        ValueError: Values are not a finite table with at least one value, `groups` has another length, or `level` is
            out of range.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"need a finite value for every seed and frame, shape (S, N), got shape {table.shape}")
    if not 0 < level < 1:
        raise ValueError(f"need 0 < level < 1, got level={level}")
    sums, counts = _clusters(table.mean(axis=0), groups)
    mean = float(table.mean())
    of_seeds, of_frames = _variance_of_mean(table.mean(axis=1)), _variance_of_mean(sums, counts)
    spread = of_seeds + of_frames
    if not spread > 0:
        return mean, mean
    freedom = spread**2 / (of_seeds**2 / max(1, len(table) - 1) + of_frames**2 / max(1, sums.size - 1))
    half = float(student_t.ppf(0.5 + level / 2, freedom) * np.sqrt(spread))
    return mean - half, mean + half


def _variance_of_mean(sums: FloatArray, counts: FloatArray | None = None) -> float:
    """Of the mean of independent values, or of clusters of them by their sums and counts; 0 where there is only one."""
    if sums.size < 2:
        return 0.0
    counts = np.ones(sums.size) if counts is None else counts
    apart = sums - sums.sum() / counts.sum() * counts
    return float((apart @ apart) / counts.sum() ** 2 * sums.size / (sums.size - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of a family of tests, corrected for their number (Holm 1979): the chance of any false one stays bounded.

    The k-th smallest of m is multiplied by m - k + 1, never falls below a smaller one, and ends at 1.

    Raises:
        ValueError: A value lies outside of [0, 1].
    """
    given = np.asarray(p_values, dtype=np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("p values must lie in [0, 1]")
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(given.size, 0, -1)) if given.size else given
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


@dataclass(frozen=True, slots=True)
class PairedResult:
    """Does `a` differ from `b` on the same frames?"""

    n: int
    """Frames."""
    mean_a: float
    mean_b: float
    difference: float
    """mean_a - mean_b."""
    ci95: tuple[float, float]
    """Bootstrap interval of the difference, pairs resampled together."""
    p_value: float
    """Two-sided, under the hypothesis that a and b are exchangeable within each pair (within each group)."""
    test: str = PAIRED_TEST


def paired_test(
    a: Any,
    b: Any,
    n: int = 2000,
    seed: int = 0,
    *,
    permutations: int = 10_000,
    groups: Sequence[Hashable] | None = None,
) -> PairedResult:
    """Compare two methods on the same frames: difference, bootstrap interval and sign-flip permutation test.

    The test asks about the same number that is reported (the mean difference) and needs neither a distribution nor a
    rule for ties, which is why it stands here instead of Wilcoxon's signed ranks. Up to 14 pairs all sign patterns
    are tried; beyond, p = (1 + at least as extreme) / (1 + permutations), which is never 0 (Phipson & Smyth 2010).
    No pair gives nan throughout; one pair p = 1, as a single difference proves nothing.

    Args:
        a: (N,) values of one method.
        b: (N,) values of the other, in the same order.
        n: Bootstrap resamples.
        seed: Of resamples and permutations.
        permutations: Random sign patterns where not all are tried.
        groups: One label a pair, such as the patient: signs of a group flip together.

    Raises:
        ValueError: Lengths differ, there are no permutations, or see `bootstrap_ci`.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    first, second = _finite(a), _finite(b)
    if first.shape != second.shape:
        raise ValueError(f"a has {first.size} values but b {second.size}; pair them frame by frame first")
    if first.size == 0:
        nan = float("nan")
        return PairedResult(0, nan, nan, nan, (nan, nan), nan)
    difference = first - second
    sums, _ = _clusters(difference, groups)
    return PairedResult(
        n=first.size,
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        difference=float(difference.mean()),
        ci95=bootstrap_ci(difference, n, seed, groups=groups),
        p_value=_sign_flip_p(sums, permutations, np.random.default_rng(seed)),
    )


def _finite(values: Any) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"need one value a frame, shape (N,), got {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("values must be finite; a frame without a score must be given one, not nan")
    return numbers


def _clusters(values: FloatArray, groups: Sequence[Hashable] | None) -> tuple[FloatArray, FloatArray]:
    """Sum and number of the values of each group, sorted so that the order of the frames cannot matter."""
    if groups is None:
        return np.sort(values), np.ones(values.size)
    if len(groups) != values.size:
        raise ValueError(f"{values.size} values but {len(groups)} groups; give one group a value")
    position: dict[Hashable, int] = {}
    index = np.array([position.setdefault(group, len(position)) for group in groups], dtype=np.intp)
    order = np.lexsort((values, index))
    sums = np.bincount(index[order], values[order]).astype(np.float64)
    counts = np.bincount(index).astype(np.float64)
    ranked = np.lexsort((counts, sums))
    return sums[ranked], counts[ranked]


def _resampled_means(sums: FloatArray, counts: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    means = np.empty(n)
    rows = max(1, _BLOCK // sums.size)
    for start in range(0, n, rows):
        drawn = rng.integers(0, sums.size, size=(min(rows, n - start), sums.size))
        means[start : start + rows] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def _sign_flip_p(sums: FloatArray, permutations: int, rng: np.random.Generator) -> float:
    """Share of sign patterns whose sum is at least as far from 0 as the one observed."""
    # Patterns that tie with the observed one must count; rounding must not decide.
    threshold = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if sums.size <= EXACT_UP_TO:
        bits = (np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= threshold))
    extreme = 0
    rows = max(1, _BLOCK // sums.size)
    for start in range(0, permutations, rows):
        flips = rng.integers(0, 2, size=(min(rows, permutations - start), sums.size), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs((1 - 2 * flips) @ sums) >= threshold))
    return (1 + extreme) / (1 + permutations)
